"""One Dagster run for each video: a partitioned asset whose body submits with WaveSpeed's SDK, waits, and saves.

It is Dagster's default for a backfill, and what its documentation advises for interfaces with limits ("One run per partition
(default): unreliable data sources, API rate limits, fine-grained retry", docs.dagster.io/examples/mini-examples/
partition-backfill-strategies). Storage (SQLite), queue (10 runs at once), launcher (a process per run) and executor (another
one per step) are Dagster's own defaults too.

    dagster-daemon run -m benchmarks.rivals.run_per_video
    dagster job backfill -m benchmarks.rivals.run_per_video -j videos --partitions shot00000,shot00001 --noprompt
"""

import json
import os
from pathlib import Path

import dagster as dg
import requests
from wavespeed import Client

orders = json.loads(Path(os.environ["RIVAL_ORDERS"]).read_text())


@dg.asset(partitions_def=dg.StaticPartitionsDefinition(orders["names"]))
def video(context: dg.AssetExecutionContext) -> None:
    """A picture's video."""
    name = context.partition_key
    client = Client(api_key="benchmark", base_url=orders["provider_url"])
    output = client.run(
        "alibaba/wan-2.6/image-to-video-flash",
        {
            "image": f"{orders['pictures_url']}/{name}.png",
            "prompt": orders["prompt"],
            "duration": orders["duration"],
            "resolution": "720p",
            "enable_audio": False,
        },
    )
    (Path(orders["videos"]) / f"{name}.mp4").write_bytes(requests.get(output["outputs"][0], timeout=60).content)


defs = dg.Definitions(assets=[video], jobs=[dg.define_asset_job("videos", selection=[video])])
