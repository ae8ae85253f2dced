"""Whose key: a fingerprint that tells one key from another and is no secret, and the words for where two differ.

A provider's witnesses answer for the account that asks, at AI/ML API's logs for the very key. What was sent with another key
they do not show, so that "no such job" means nothing in their mouth. Each attempt's row in the ledger therefore keeps the
fingerprint of the key that it was sent with. What does not belong here: asking a provider, and what follows from it.
"""

from __future__ import annotations

import hashlib
import hmac

from pydantic import SecretStr

_CHARACTERS = 12  # of the hex digits: enough to tell a team's keys apart


def account_of(key: SecretStr) -> str:
    """The key's fingerprint. An HMAC under the key itself: it can be shown, and gives nothing of the key away."""
    secret = key.get_secret_value().strip().encode(errors="replace")
    return hmac.new(secret, b"wan-pipeline account", hashlib.sha256).hexdigest()[:_CHARACTERS]


def another_key(sent_with: str | None, ours: str) -> str | None:
    """Words for a submission that was sent with another key than `ours`. None: it is the same, or nobody knows."""
    if sent_with is None or sent_with == ours:
        return None
    return f"it was sent with another key (fingerprint {sent_with}) than the one that is set now ({ours})"
