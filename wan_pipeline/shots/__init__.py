"""What to make: the sidecar files' schema, and from a bucket's listing to shots. Knows no ledger rule and no HTTP."""
