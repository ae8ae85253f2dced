"""The Dagster layer: real runs against throw-away instances."""
