"""The script of AI/ML API's document of `alibaba/wan-2-6-i2v` ("Code Example", Python), in a thread pool.

Its two functions and its loop are the document's: submit, ask, sleep 15 s while `queued` or `generating`, give up after
1,000 s. Changed: the address, `duration` is a number (the document's schema; its sample's "5" is refused), sound is off and
the size 720p as for the others, the video is saved, and a picture whose video is there already is left out.

    python -m benchmarks.rivals.polling_script ORDERS   (a file of JSON, see driven.py)
"""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import requests

orders = json.loads(Path(sys.argv[1]).read_text())
api_key = "benchmark"
base_url = f"{orders['provider_url']}/v2"


def generate_video(name: str) -> Any:
    url = f"{base_url}/video/generations"
    headers = {"Authorization": f"Bearer {api_key}", "Content-Type": "application/json"}
    payload = {
        "model": "alibaba/wan-2-6-i2v",
        "prompt": orders["prompt"],
        "image_url": f"{orders['pictures_url']}/{name}.png",
        "duration": orders["duration"],
        "resolution": "720p",
        "generate_audio": False,
    }
    response = requests.post(url, json=payload, headers=headers)
    if response.status_code >= 400:
        print(f"Error: {response.status_code} - {response.text}")
        return None
    return response.json()


def get_video(gen_id: str) -> Any:
    url = f"{base_url}/video/generations"
    params = {"generation_id": gen_id}
    headers = {"Authorization": f"Bearer {api_key}", "Content-Type": "application/json"}
    response = requests.get(url, params=params, headers=headers)
    return response.json()


def make(name: str) -> None:
    video = Path(orders["videos"]) / f"{name}.mp4"
    if video.exists():
        return
    gen_response = generate_video(name)
    gen_id = gen_response.get("id") if gen_response else None
    if not gen_id:
        return
    start_time = time.time()
    timeout = 1000
    while time.time() - start_time < timeout:
        response_data = get_video(gen_id)
        if response_data is None:
            print("Error: No response from API")
            return
        status = response_data.get("status")
        if status in ["queued", "generating"]:
            time.sleep(15)
            continue
        if status == "completed":
            video.write_bytes(requests.get(response_data["video"]["url"]).content)
        else:
            print("Processing complete:\n", response_data)
        return
    print("Timeout reached. Stopping.")


with ThreadPoolExecutor(max_workers=orders["in_flight"]) as pool:
    list(pool.map(make, orders["names"]))
