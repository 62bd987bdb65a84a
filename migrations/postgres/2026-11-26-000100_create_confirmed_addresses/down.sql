DROP TABLE confirmed_addresses;
