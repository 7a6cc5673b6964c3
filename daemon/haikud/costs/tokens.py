"""How many tokens a text is, about. Pure.

One token for every four bytes: no tokenizer, but the same text always gives the same number, and more text a higher
one. Good enough to compare texts and to keep a cap; never used to bill.
"""

from __future__ import annotations

BYTES_PER_TOKEN = 4


def estimate_tokens(data: bytes | str) -> int:
    """Tokens in some text or bytes, rounded up."""
    size = len(data.encode("utf-8", "replace") if isinstance(data, str) else data)
    return -(-size // BYTES_PER_TOKEN)
