"""Does a receiver answer at the address that ShortAPI is told to call? Asked from here: ShortAPI's own way may differ."""

from __future__ import annotations

_PATIENCE_S = 5.0
_NOT_OURS = "/shortapi/doctor/0"  # no token: a receiver answers 404
_NOT_FOUND = 404


def answer_of(url: str) -> str | None:
    """What is wrong with what answers there, for a sentence that begins with the URL; None: a receiver, as it seems."""
    import httpx

    try:
        status = httpx.post(url + _NOT_OURS, timeout=_PATIENCE_S, content=b"").status_code
    except httpx.HTTPError as error:
        return f"cannot be reached from here ({type(error).__name__})"
    except httpx.InvalidURL as error:
        return f"is no URL ({error})"
    if status == _NOT_FOUND:
        return None
    return f"answers {status} where a receiver answers {_NOT_FOUND}"
