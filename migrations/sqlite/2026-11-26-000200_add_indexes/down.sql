DROP INDEX transfers_by_time;
DROP INDEX deliveries_given_up;
