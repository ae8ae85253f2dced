"""The engine against the real simulator, ledger and bucket."""
