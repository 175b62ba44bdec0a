"""One seed per purpose, all from the one that the task gives."""

import hashlib


def derived_seed(seed: int, *purpose: object) -> int:
    """A seed for one purpose: unrelated to those for others, and in the range that torch and numpy take.

    Args:
        seed: The work's own seed, of any size.
        purpose: What the randomness is for.
    """
    text = ":".join(str(part) for part in (seed, *purpose))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
