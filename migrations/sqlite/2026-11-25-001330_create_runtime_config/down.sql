DROP TABLE runtime_config;
