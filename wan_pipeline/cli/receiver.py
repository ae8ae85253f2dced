"""`wan-pipeline receiver`: takes ShortAPI's callbacks, each a hint at what became of a submission."""

from __future__ import annotations

import signal
import socket
from typing import TYPE_CHECKING

import click

from wan_pipeline.cli.console import say
from wan_pipeline.cli.exits import WrongUseError
from wan_pipeline.cli.opened import open_ledger
from wan_pipeline.cli.options import example
from wan_pipeline.settings import Settings

if TYPE_CHECKING:
    from types import FrameType

    import uvicorn

_BACKLOG = 128
_LAST_ANSWERS_S = 5


@click.command(
    short_help="Take ShortAPI's callbacks.",
    epilog=example(
        "WAN_PUBLIC_CALLBACK_URL=https://wan.example.com wan-pipeline receiver",
        "wan-pipeline receiver --host 0.0.0.0 --port 8062",
    ),
)
@click.option("--host", default="127.0.0.1", show_default=True, help="The interface to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8062, show_default=True, help="0: a free one.")
def command(host: str, port: int) -> None:
    """Take ShortAPI's callbacks, until Ctrl-C or SIGTERM.

    A callback names the job that a submission has become, which ShortAPI offers no other way to find out. It is written to
    the ledger as a hint, and believed once ShortAPI itself, asked for that job, knows it. Put a proxy with TLS before it,
    and have WAN_PUBLIC_CALLBACK_URL name the proxy, where the pipeline runs as well as here.
    """
    settings = Settings.load()
    if settings.shortapi_key is None:
        raise WrongUseError(
            "SHORTAPI_KEY is not set: callbacks are told from forgeries by it. Set the key that the pipeline submits with"
        )
    if settings.public_callback_url is None:
        say(
            "note: WAN_PUBLIC_CALLBACK_URL is not set: ShortAPI is asked to call back only where the pipeline's processes"
            " have it"
        )
    if settings.mode == "demo":
        say("note: WAN_MODE=demo: simulated providers inside the pipeline's processes call nobody back")
    import uvicorn

    from wan_pipeline.generation.receiver import receiver_app

    with open_ledger(settings) as ledger:
        config = uvicorn.Config(
            receiver_app(ledger, settings.shortapi_key),
            log_level="warning",
            access_log=False,  # it would hold the tokens
            backlog=_BACKLOG,
            timeout_graceful_shutdown=_LAST_ANSWERS_S,
            server_header=False,
        )
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((host, port))
            except OSError as error:
                raise WrongUseError(
                    f"{host}:{port} cannot be listened on ({error.strerror or error}): choose another --host or --port,"
                    " or 0 for a free port"
                ) from error
            listener.listen(_BACKLOG)
            shown = f"[{host}]" if ":" in host else host
            to = settings.public_callback_url or "WAN_PUBLIC_CALLBACK_URL"
            say(f"taking ShortAPI's callbacks at http://{shown}:{listener.getsockname()[1]}, for {to}. Ctrl-C ends it.")
            _run(uvicorn.Server(config), listener)


def _run(server: uvicorn.Server, listener: socket.socket) -> None:
    """Until SIGINT or SIGTERM. uvicorn answers what is under way, and then raises the signal again, for whoever was to hear
    it before: nobody, so that the ledger is closed in order."""

    def heard(number: int, frame: FrameType | None) -> None:
        return None

    before = {number: signal.signal(number, heard) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        server.run(sockets=[listener])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
