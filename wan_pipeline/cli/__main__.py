"""`python -m wan_pipeline.cli` is `wan-pipeline`."""

from __future__ import annotations

from wan_pipeline.cli.app import main

main()
