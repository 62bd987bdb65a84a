-- How many withdrawals of a user are not over is asked for whenever another one is.
CREATE INDEX withdrawals_by_account_and_stage ON withdrawals (account, stage);
