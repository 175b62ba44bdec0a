"""Keys of a run's objects in the store."""


def run_key(run: str, *parts: object) -> str:
    """Key of an object of a run.

    Args:
        run: Id of the run.
        parts: Its place below the run's folder.
    """
    return "/".join(["runs", run, *map(str, parts)])
