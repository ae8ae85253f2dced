"""A webhook on a real socket, which keeps what it was told and answers as it is set to."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SECRET = "T0S3CRET/B0S3CRET/s3cret"


@dataclass
class Webhook:
    """`status`: what the next POSTs are answered with; `delay_s`: after so long. `told`: the bodies, in their order."""

    url: str = ""
    status: int = 200
    delay_s: float = 0.0
    headers: dict[str, str] = field(default_factory=dict)
    told: list[dict[str, Any]] = field(default_factory=list)
    seen: list[tuple[str, dict[str, str]]] = field(default_factory=list)  # path and headers

    @property
    def subjects(self) -> list[str]:
        return [str(body["subject"]) for body in self.told]


@contextmanager
def webhook(port: int = 0) -> Iterator[Webhook]:
    hook = Webhook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            hook.seen.append((self.path, dict(self.headers)))
            hook.told.append(json.loads(body))
            time.sleep(hook.delay_s)
            self.send_response(hook.status)
            for name, value in hook.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    hook.url = f"http://127.0.0.1:{server.server_address[1]}/services/{SECRET}"
    try:
        yield hook
    finally:
        server.shutdown()
        server.server_close()
