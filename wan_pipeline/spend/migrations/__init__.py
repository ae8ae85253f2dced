"""The steps from one version of the ledger's tables to the next, run in process by schema.py."""
