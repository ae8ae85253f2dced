"""The Dagster layer: assets, checks, sensors, schedules, resources. Thin: no rule about money, providers or files."""
