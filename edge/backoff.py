"""How long to wait before another try."""

_FIRST_SECONDS = 0.5
_MOST_SECONDS = 30.0


def pause_seconds(failures: int, jitter: float) -> float:
    """Seconds until the next try: doubling from half a second to half a minute, so that a store may recover.

    Args:
        failures: Tries that failed before the last one.
        jitter: Random number in [0, 1); it spreads the tries of many edges over half of the pause.
    """
    return min(_MOST_SECONDS, _FIRST_SECONDS * 2.0 ** min(failures, 10)) * (0.5 + jitter / 2)
