"""What comes out of a pipeline's parameters as it was put in, and what does not.

kfp, Argo and Kubernetes each have marks of their own that they replace wherever they find them, in values too.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from cloudedge.errors import InvalidDocument
from cloudedge.texts import shown

_HERE = re.compile(r"\{\{\$|/kfp-workspace|[\ud800-\udfff]")
"""What does not come through kfp's local engine as it is: its placeholders, where it mounts a workspace, what is not UTF-8."""

_ANYWHERE = re.compile(
    r"\{\{"  # Argo's placeholders too; one that is not closed in this text is closed by another's braces.
    r"|\$[$(]"  # Kubernetes' variables in a container's arguments; it makes one dollar of two.
    r"|\[\[(?:RunUUID|ScheduledTime|CurrentTime|Index)\b"  # The API server's macros.
    r"|\x7f"  # Argo quotes it as no JSON may be.
    f"|{_HERE.pattern}"
)
"""What does not come through kfp 2.17 (compiler, API server, driver, launcher), Argo and Kubernetes either."""


_MOST_DEPTH = 20
"""Lists and dictionaries inside each other; the messages of kfp's local engine hold about thirty."""


def require_carried(what: str, parameters: Mapping[str, Any], *, here: bool = False) -> None:
    """Make sure that values come out of a pipeline's parameters as they are put in.

    Args:
        what: What they are, for the message.
        parameters: Values by name: texts, numbers, lists and dictionaries of any depth.
        here: Whether they never leave this machine.

    Raises:
        InvalidDocument: some would not; lists them all with the way out.
    """
    find = _replaced_here if here else _replaced
    faults = [fault for name, value in parameters.items() for fault in _faults(name, value, find)]
    if faults:
        raise InvalidDocument(f"{what} cannot be carried by a pipeline's parameters:", faults)


def _faults(place: str, value: Any, find: Callable[[str], str], depth: int = 0) -> Iterator[str]:
    if depth > _MOST_DEPTH:
        yield f"{place}: found more than {_MOST_DEPTH} lists and dictionaries inside each other; make it flatter"
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _faults(f"{place}, a name in it", key, find)
            yield from _faults(f"{place}.{key}", inner, find, depth + 1)
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from _faults(f"{place}.{index}", inner, find, depth + 1)
    elif isinstance(value, str):
        if mark := find(value):
            yield f"{place}: found {shown(value)}; leave out {mark!r}, which Kubeflow would replace"
    elif value is None:
        yield f"{place}: found null, which Kubeflow does not take; leave it out"
    elif isinstance(value, int | float) and not _is_double(value):
        yield f"{place}: found {shown(value)}; give a number that a float of 64 bits holds"


def _replaced_here(text: str) -> str:
    found = _HERE.search(text)
    return found[0] if found else ""


def _replaced(text: str) -> str:
    found = _ANYWHERE.search(text)
    # Argo quotes these characters of four bytes as no JSON may be.
    return found[0] if found else next((one for one in text if one > "\uffff" and not one.isprintable()), "")


def _is_double(value: float) -> bool:
    try:
        return math.isfinite(value) and float(value) == value
    except OverflowError:
        return False
