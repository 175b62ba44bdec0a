"""The kinds of work that an edge can be given, one a file: what is asked (`WORK`) and what its manifest says (`RESULT`).

A module here is a kind, known by its name; at the edge a module of the same name in `edge.kinds` does the work.
"""

from importlib import import_module
from pkgutil import iter_modules
from typing import Annotated, Any, ClassVar, Literal, Union

from pydantic import Discriminator, Field

from cloudedge.documents.base import Part, Told
from cloudedge.names import NAME


class Work(Part):
    """What an order asks for, by its kind."""

    inputs: ClassVar[frozenset[str] | None] = None
    """Names of the files that the work begins with; none: any."""
    outputs: ClassVar[frozenset[str]] = frozenset()
    """Names of the files that it makes."""

    kind: str = Field(pattern=NAME, description="Kind of work.")


class Result(Told):
    """What came of work, by its kind."""

    kind: str = Field(pattern=NAME, description="Kind of work.")


def kinds() -> list[str]:
    """Names of all kinds, sorted."""
    return sorted(module.name for module in iter_modules(__path__))


def any_of(which: Literal["WORK", "RESULT"]) -> Any:
    """What is asked of work of any kind, or what comes of it, for pydantic: told apart by the kind."""
    documents = tuple(getattr(import_module(f"{__name__}.{kind}"), which) for kind in kinds())
    return Annotated[Union[documents], Discriminator("kind")]  # noqa: UP007  # known when it runs
