"""The ledger: what it promises about money, on both databases, with real processes."""
