"""The simulator over real HTTP: one process, one uvicorn."""

from __future__ import annotations

import socket
from collections.abc import Callable

from wan_pipeline.simulator.config import SimulatorConfig

_BACKLOG = 1024
# Longer than any client keeps an idle connection: a POST sent just as the server closes one is answered by nothing,
# which a careful client must take for a lost answer.
_KEEP_ALIVE_S = 120
_LAST_ANSWERS_S = 5


def serve(config: SimulatorConfig, host: str, port: int, log: Callable[[str], None] | None = None) -> None:
    """Serves until SIGINT or SIGTERM. Port 0 takes a free one; `log` is told the URL once it can be reached.

    Raises OSError where the port is taken.
    """
    import uvicorn

    from wan_pipeline.simulator.app import create_app

    settings = uvicorn.Config(
        create_app(config),
        log_level="warning",
        access_log=False,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_LAST_ANSWERS_S,
    )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
        if log is not None:
            shown = f"[{host}]" if ":" in host else host
            log(f"http://{shown}:{listener.getsockname()[1]}")
        uvicorn.Server(settings).run(sockets=[listener])
