"""The official WaveSpeed SDK (2.0.5) in a thread pool: `run()` for each picture, the video saved when it returns.

As its README shows it ("API Client": `output = client.run(model, {...}); output["outputs"][0]` is the URL): default
`poll_interval` (1 s), no retry of a task, no time limit. Threads are the usual way to have several blocking calls at once. A
picture whose video is there already is left out, which the README does not show and a person soon adds.

    python -m benchmarks.rivals.sdk_pool ORDERS   (a file of JSON, see driven.py)
"""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests
from wavespeed import Client

orders = json.loads(Path(sys.argv[1]).read_text())
client = Client(api_key="benchmark", base_url=orders["provider_url"])


def make(name: str) -> None:
    video = Path(orders["videos"]) / f"{name}.mp4"
    if video.exists():
        return
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
    video.write_bytes(requests.get(output["outputs"][0], timeout=60).content)


with ThreadPoolExecutor(max_workers=orders["in_flight"]) as pool:
    list(pool.map(make, orders["names"]))
