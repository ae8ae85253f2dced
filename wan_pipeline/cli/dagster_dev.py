"""`python -m dagster`, as `wan-pipeline dev` starts it: with a watch over its code servers (code_servers.py), and without
its warning of a dagster.yaml in the current folder.

The checkout has one, for a plain `dagster dev`, and what is used is the same text in $WAN_HOME/dagster.
"""

from __future__ import annotations

import logging
import runpy

from wan_pipeline.cli.code_servers import watch_code_servers


def _wanted(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith("Found a dagster instance configuration value (dagster.yaml)")


if __name__ == "__main__":
    logging.getLogger("dagster").addFilter(_wanted)
    watch_code_servers()
    runpy.run_module("dagster", run_name="__main__", alter_sys=True)
