DROP TABLE snapshots;
DROP TABLE log_archive;
DROP TABLE watermark;
DROP TABLE transfers;
DROP TABLE ledger_entries;
DROP TABLE candles;
DROP TABLE fills;
DROP TABLE orders;
