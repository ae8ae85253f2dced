"""`wan-pipeline` in this process: a start of Python costs more than most commands do."""

from __future__ import annotations

import io
import json
import os
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Any
from unittest import mock

from wan_pipeline.cli import app
from wan_pipeline_tests.cli.house import House


@dataclass(frozen=True)
class Done:
    status: int
    out: str
    err: str


def at_once(house: House, *arguments: str, **variables: str) -> Done:
    """What `House.run` does."""
    out, err = io.StringIO(), io.StringIO()
    with mock.patch.dict(os.environ, house.environment | variables, clear=True):
        with redirect_stdout(out), redirect_stderr(err):
            status = app.run(list(arguments))
    return Done(status, out.getvalue(), err.getvalue())


def data_at_once(house: House, *arguments: str, status: int = 0) -> Any:
    """What the command prints as JSON."""
    done = at_once(house, *arguments, "--json")
    assert done.status == status, f"exit {done.status}\n{done.out}\n{done.err}"
    return json.loads(done.out)
