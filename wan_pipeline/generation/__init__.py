"""Buying and collecting: one batch of shots at a time, on one asyncio loop. Knows no Dagster."""
