"""`wan-pipeline dev` as a person sees it, in a real browser."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from wan_pipeline_tests.generation.house import png
from wan_pipeline_tests.whole.installation import COMMAND, Installation, free_port, wait_until_up

CHROMIUM = shutil.which("chromium")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]


@contextmanager
def dev(house: Installation, log: Path) -> Iterator[str]:
    """Dagster's UI and daemon; gives the UI's URL. Stopped by its own process id, as by Ctrl-C."""
    port = free_port()
    with log.open("w") as output:
        process = subprocess.Popen(
            [*COMMAND, "dev", "--port", str(port), "--bucket-port", "0"],
            env=house.environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until_up(f"http://127.0.0.1:{port}/server_info", process, timeout_s=120)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


@pytest.mark.timeout(420)
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine (Debian's package is called chromium)")
def test_an_image_copied_into_the_inbox_becomes_a_video_whose_page_shows_poster_job_id_and_spend(
    tmp_path: Path,
) -> None:
    from playwright.sync_api import expect, sync_playwright

    house = Installation(tmp_path / "home", tmp_path / "home" / "simulator", {"WAN_SIMULATOR_LATENCY": "0.5"})
    inbox = tmp_path / "home" / "bucket" / "inbox"
    inbox.mkdir(parents=True)
    (inbox / "_defaults.yaml").write_text("model: wavespeed/wan-2.6-i2v-flash\nprompt: It moves.\nduration: 2\n")
    with dev(house, tmp_path / "dev.log") as url:
        (inbox / "dropped.png").write_bytes(png("orange"))  # no click, no command
        video = tmp_path / "home" / "bucket" / "videos" / "dropped" / "take-1.json"
        deadline = time.monotonic() + 180
        while not video.exists():
            assert time.monotonic() < deadline, (tmp_path / "dev.log").read_text()[-5000:]
            time.sleep(0.5)
        time.sleep(2)  # the materialization is logged right behind the manifest
        (job,) = house.jobs()
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            page = browser.new_page(viewport={"width": 1440, "height": 1400})
            page.goto(f"{url}/assets/generated_videos?view=partitions&partition=dropped")
            for text in (job["id"], job["provider_job_id"], "0.05", "wavespeed/wan-2.6-i2v-flash"):
                expect(page.get_by_text(text, exact=True).first).to_be_visible(timeout=60_000)
            poster = page.locator("img[src$='.webp']").first
            expect(poster).to_be_visible(timeout=30_000)
            page.wait_for_function("image => image.complete && image.naturalWidth > 100", arg=poster.element_handle())
            assert (poster.locator("xpath=ancestor::a").get_attribute("href") or "").endswith("take-1.mp4")
            if picture := os.environ.get("TEST_PICTURE"):
                page.screenshot(path=picture)
            browser.close()
