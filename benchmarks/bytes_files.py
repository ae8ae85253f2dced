"""A file server that copies nothing through Python (sendfile, a thread for each connection), and the videos that it serves.

    python -m benchmarks.bytes_files FOLDER PORT

`GET /name` gives the file of that name in FOLDER, as often as asked on one connection; `GET /name?line` over a line of
1 Gbit/s that all who ask so share.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

_PIECE_BYTES = 1 << 20
_LINE_BYTES_PER_S = 117_000_000  # what TCP leaves of 1 Gbit/s


class _Line:
    """Lets pieces through at its rate, in the order in which they are asked for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._free_at_s = 0.0

    def take(self, size_bytes: int) -> None:
        with self._lock:
            now_s = time.monotonic()
            self._free_at_s = max(self._free_at_s, now_s) + size_bytes / _LINE_BYTES_PER_S
            wait_s = self._free_at_s - now_s
        time.sleep(wait_s)


_LINE = _Line()


def serve(folder: Path, port: int) -> None:
    """Serves for ever."""
    with socket.create_server(("127.0.0.1", port), backlog=128) as listening:
        while True:
            connection, _ = listening.accept()
            threading.Thread(target=_answer, args=(connection, folder), daemon=True).start()


def _answer(connection: socket.socket, folder: Path) -> None:
    waiting = b""
    try:
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while True:
                while b"\r\n\r\n" not in waiting:
                    came = connection.recv(1 << 16)
                    if not came:
                        return
                    waiting += came
                request, _, waiting = waiting.partition(b"\r\n\r\n")
                asked = urlsplit(request.split(b" ")[1].decode())
                _send(connection, folder / Path(asked.path).name, _LINE if asked.query.startswith("line") else None)
    except OSError:
        return  # the client went away


def _send(connection: socket.socket, path: Path, line: _Line | None) -> None:
    if not path.is_file():
        connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        return
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        head = f"HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\nContent-Length: {size}\r\n\r\n"
        connection.sendall(head.encode())
        at = 0
        while at < size:
            piece = min(_PIECE_BYTES if line is None else _PIECE_BYTES // 4, size - at)
            if line is not None:
                line.take(piece)
            at += os.sendfile(connection.fileno(), file.fileno(), at, piece)


def make_video(path: Path, seconds: int, width: int, height: int, size_bytes: int) -> None:
    """H.264 in an MP4 with its index in front, of about this size: noise that hardly gets smaller, then a `free` box for
    what is missing. It plays from the first frame to the last one."""
    import av
    import numpy as np

    rng = np.random.default_rng(seed=5)
    coarse = rng.integers(0, 256, (8, height // 4, width // 4, 3), np.uint8)
    pictures = [frame.repeat(4, axis=0).repeat(4, axis=1) for frame in coarse]
    rate = 24
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=rate, options={"preset": "ultrafast", "g": "250"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.bit_rate = int(size_bytes * 8 / seconds * 0.97)
        for number in range(seconds * rate):
            picture = pictures[number % len(pictures)]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    missing = size_bytes - path.stat().st_size
    if missing >= 8:
        with path.open("ab") as file:
            file.write(missing.to_bytes(4, "big") + b"free" + bytes(missing - 8))


if __name__ == "__main__":
    serve(Path(sys.argv[1]), int(sys.argv[2]))
