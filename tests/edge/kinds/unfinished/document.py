"""What is asked of a kind, with a part that is defined nowhere."""

from cloudedge.documents.kinds import Result, Work


class Unfinished(Work):
    """How to do it."""

    part: "Missing"  # type: ignore[name-defined]  # noqa: F821


WORK, RESULT = Unfinished, Result
