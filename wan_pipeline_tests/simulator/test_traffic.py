"""Requests are counted by what they ask for: what benchmarks call polls per video."""

from __future__ import annotations

from pathlib import Path

from wan_pipeline_tests.simulator.world import KEY, World, accepted


def test_each_request_is_counted_once_by_what_it_asks_for(tmp_path: Path) -> None:
    world = World(tmp_path)
    short, aiml, wave = accepted(world.shortapi()), accepted(world.aimlapi()), accepted(world.wavespeed())
    world.wavespeed(prompt="[refuse]")
    world.finish()
    for _ in range(2):
        world.http.get(f"/api/v1/job/query?id={short}")
        world.http.get(f"/v2/video/generations?generation_id={aiml}")
    done = world.http.get(f"/api/v3/predictions/{wave}/result").json()["data"]
    world.http.get(f"/api/v3/predictions/{wave}")
    world.http.post("/api/v3/predictions", json={"page": 1, "page_size": 100})
    world.http.get("/api/v3/balance")
    world.http.get("/v2/logs")
    world.http.get(done["outputs"][0].replace("http://sim.test", ""), headers=KEY)
    world.http.get("/simulator/books")
    assert world.http.get("/simulator/requests").json() == {
        "aimlapi": {"list": 1, "poll": 2, "submission": 1},
        "files": {"download": 1},
        "shortapi": {"poll": 2, "submission": 1},
        "wavespeed": {"list": 1, "other": 1, "poll": 2, "submission": 2},
    }
