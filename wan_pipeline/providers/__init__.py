"""The sellers: what each model takes and costs, and how its provider is spoken to. Knows no ledger, bucket or Dagster."""
