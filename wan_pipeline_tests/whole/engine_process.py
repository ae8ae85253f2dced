"""`python -m wan_pipeline_tests.whole.engine_process`: the engine over the shots below a prefix, in a process of its own.

The product's engine with the settings of its environment, without Dagster: eight of them are as quick to start as one with.
It prints how its shots ended.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from contextlib import AbstractAsyncContextManager
from datetime import timedelta

from pydantic import SecretStr

from wan_pipeline.bucket import open_bucket
from wan_pipeline.generation import gate
from wan_pipeline.generation.engine import Engine
from wan_pipeline.generation.events import Stage
from wan_pipeline.generation.parts import EngineParts
from wan_pipeline.providers.base import ProviderClient, ProviderLimits
from wan_pipeline.providers.connect import connect
from wan_pipeline.settings import Settings
from wan_pipeline.shots.discovery import discover
from wan_pipeline.spend import limits as ledger_limits
from wan_pipeline.spend.ledger import Ledger
from wan_pipeline.spend.records import Budgets, ClaimOptions


def main(prefix: str, in_flight: str, per_minute: str, minute_s: str) -> None:
    """`minute_s`: how long a minute is, so that a test need not wait for one."""
    ledger_limits._MINUTE = timedelta(seconds=float(minute_s))
    gate._WINDOW_S = float(minute_s) + 0.5
    settings = Settings.load()
    allowed = ProviderLimits(int(in_flight), int(per_minute))

    def client(provider: str) -> AbstractAsyncContextManager[ProviderClient]:
        return connect(provider, getattr(settings, f"{provider}_base_url"), SecretStr("key"), allowed)

    bucket = open_bucket(settings.bucket_url, settings.public_base_url)
    with Ledger.open(settings.ledger_url) as ledger:
        parts = EngineParts(ledger, bucket, Budgets(None, None, None), client, None, simulated=False)
        shots = [shot for shot in discover(bucket, None) if shot.key.startswith(prefix)]
        results = asyncio.run(Engine(parts).run(shots, Stage.GENERATE, ClaimOptions(), lambda event: None))
    for result in results:
        if result.reason:
            print(result.shot.key, result.verdict, result.reason, file=sys.stderr)
    print(json.dumps(Counter(str(result.verdict) for result in results)))


if __name__ == "__main__":
    main(*sys.argv[1:])
