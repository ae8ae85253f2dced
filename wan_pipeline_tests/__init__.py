"""The tests mirror the rooms of wan_pipeline; `services/` starts the real servers they talk to."""
