"""What is signed or digested with a secret of the folder: URLs that expire, cursors, API keys."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import uuid
from pathlib import Path
from urllib.parse import urlencode

from starlette.requests import Request


class Signer:
    """Signs paths with a secret that lies in the folder, so that every process over it knows every signature."""

    def __init__(self, folder: Path) -> None:
        self._secret = _secret(folder / "secret")

    def query(self, path: str, expires_s: int) -> str:
        """`Expires=…&Signature=…` for this path."""
        return urlencode({"Expires": expires_s, "Signature": self._signature(path, str(expires_s))})

    def allows(self, request: Request, now_s: float) -> bool:
        """Whether the request carries a signature of its path that is right and has not expired."""
        expires, signature = request.query_params.get("Expires", ""), request.query_params.get("Signature", "")
        right = hmac.compare_digest(signature.encode(), self._signature(request.url.path, expires).encode())
        return right and expires.isdigit() and now_s < int(expires)

    def fingerprint(self, text: str) -> str:
        """A digest that tells secrets apart and gives none away."""
        return hmac.new(self._secret, f"fingerprint\n{text}".encode(), hashlib.sha256).hexdigest()[:32]

    def _signature(self, path: str, expires: str) -> str:
        return hmac.new(self._secret, f"{path}\n{expires}".encode(), hashlib.sha256).hexdigest()


def _secret(path: Path) -> bytes:
    """The folder's secret, made by whoever comes first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_bytes(32))
        try:
            os.link(temporary, path)
        except FileExistsError:
            pass
        finally:
            temporary.unlink()
    return path.read_bytes()
