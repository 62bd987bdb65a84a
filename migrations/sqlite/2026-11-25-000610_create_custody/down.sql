DROP TABLE deposit_addresses;
DROP TABLE withdrawals;
