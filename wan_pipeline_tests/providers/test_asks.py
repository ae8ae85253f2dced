"""A POST that merely asks is repeated, one that buys never is, and neither can pass for the other."""

from __future__ import annotations

import asyncio
import json

import pytest
from pydantic import SecretStr

from wan_pipeline.providers.base import PollError, ProviderLimits
from wan_pipeline.providers.catalog import MODELS
from wan_pipeline.providers.connect import PROVIDERS
from wan_pipeline.providers.http import QUESTIONS, Answer, ProviderHttp
from wan_pipeline_tests.providers.tiny_server import KEY, QUICK, Behaviour, TinyServer, Wire, says, serving

LIMITS = ProviderLimits(4, 100)
PREDICTIONS = "/api/v3/predictions"


async def reset(wire: Wire) -> None:
    wire.reset()


def ask(path: str, *behaviours: Behaviour) -> tuple[Answer | PollError, TinyServer]:
    async def run() -> tuple[Answer | PollError, TinyServer]:
        async with serving(*behaviours) as server:
            async with ProviderHttp("wavespeed", server.url, SecretStr(KEY), LIMITS, None, QUICK) as http:
                return await http.ask(path, {"page": 1}), server

    return asyncio.run(run())


@pytest.mark.parametrize("trouble", [reset, says(500), says(429), says(502, "<html>")])
def test_a_question_in_trouble_is_asked_again(trouble: Behaviour) -> None:
    answer, server = ask(PREDICTIONS, trouble, trouble, says(200, {"code": 200}))
    assert isinstance(answer, Answer)
    assert [json.loads(each.body) for each in server.posts] == [{"page": 1}] * 3
    assert server.posts[0].headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    "final", [says(400), says(401), says(404), says(307, "", {"Location": "/api/v3/predictions/"})]
)
def test_a_question_that_is_refused_is_asked_once(final: Behaviour) -> None:
    answer, server = ask(PREDICTIONS, final)
    assert isinstance(answer, PollError)
    assert len(server.posts) == 1


def paths_that_buy() -> set[str]:
    return {
        PROVIDERS[model.provider].client_class("http://h", SecretStr(KEY), LIMITS)._submit_path(model)
        for model in MODELS
    }


@pytest.mark.parametrize(
    "path",
    [
        *sorted(paths_that_buy()),
        "/api/v3/predictions/",
        "/api/v3/predictions?x=1",
        "/api/v3/predictions/../alibaba/wan-2.6/image-to-video-flash",
        "/api/v3/PREDICTIONS",
        "/api/v3/predictions/delete",
        "",
    ],
)
def test_no_path_that_might_buy_can_be_asked(path: str) -> None:
    async def run() -> int:
        async with serving(says(200, {})) as server:
            async with ProviderHttp("wavespeed", server.url, SecretStr(KEY), LIMITS, None, QUICK) as http:
                with pytest.raises(ValueError, match="is no question"):
                    await http.ask(path, {})
            return len(server.received)

    assert asyncio.run(run()) == 0


@pytest.mark.parametrize("path", sorted(QUESTIONS))
def test_no_question_can_be_bought(path: str) -> None:
    async def run() -> int:
        async with serving(says(200, {})) as server:
            async with ProviderHttp("wavespeed", server.url, SecretStr(KEY), LIMITS, None, QUICK) as http:
                with pytest.raises(ValueError, match="is a question"):
                    await http.post(path, {})
            return len(server.received)

    assert asyncio.run(run()) == 0


def test_looking_around_is_modest() -> None:
    """A thousand lost answers must not turn into a storm of listings: each client asks a few at once, then evenly."""
    from wan_pipeline.providers.looking import Pace

    async def run() -> list[float]:
        loop = asyncio.get_running_loop()
        pace, began, at = Pace(per_minute=6000, burst=5), loop.time(), list[float]()
        for _ in range(15):
            await pace.wait()
            at.append(loop.time() - began)
        return at

    at = asyncio.run(run())
    assert at[14] >= 0.099  # ten waits of 10 ms after the five at once
