DROP TABLE notified;
DROP TABLE deliveries;
DROP TABLE price_alerts;
DROP TABLE outlets;
