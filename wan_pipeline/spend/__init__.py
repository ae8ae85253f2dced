"""The ledger: jobs and money, in SQL. It is the truth; Dagster's event log is the display. Knows no provider's HTTP."""
