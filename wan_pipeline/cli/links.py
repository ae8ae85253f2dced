"""Where the UI finds posters and videos of a bucket in a folder: `dev` serves it, at the same address every time.

The address is written into the catalog with each video, so what `demo` and `run` have made shows its poster when `dev` is
up, and what one `dev` has made shows in the next. In demo mode only: real providers cannot reach this machine's loopback
interface, and would be sent there for their inputs.
"""

from __future__ import annotations

import os

from wan_pipeline.settings import Settings

HOST = "127.0.0.1"
PORT = 8061
VARIABLE = "WAN_PUBLIC_BASE_URL"


def are_ours(settings: Settings) -> bool:
    """Is it `dev` that serves this bucket? Not where somebody has said where it is served."""
    is_folder = "://" not in settings.bucket_url or settings.bucket_url.startswith("file://")
    return settings.mode == "demo" and settings.public_base_url is None and is_folder


def announce(settings: Settings) -> None:
    """Have the runs of this process write links to where `dev` will serve the bucket."""
    if are_ours(settings):
        os.environ[VARIABLE] = f"http://{HOST}:{PORT}"
