"""The Dagster layer, thin: assets, checks, sensors, schedules, resources, partitions. No rule about money, providers or files."""
