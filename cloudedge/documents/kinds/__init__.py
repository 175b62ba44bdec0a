"""The kinds of work that an edge can be given, one a file: what is asked (`WORK`) and what its manifest says (`RESULT`).

A module here is a kind, known by its name (with hyphens, where that has underscores); at the edge a module of the same name in
`edge.kinds` does the work. Further kinds
come with installed packages: an entry point of the group `cloudedge.kinds` has the kind's name, and leads to a package with the
modules `document`, which is as the ones here, and `work`, which is as those at the edge.
"""

from collections.abc import Set
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pkgutil import iter_modules
from typing import Annotated, Any, ClassVar, Literal, Union

from pydantic import ConfigDict, Discriminator, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, TypeAdapter, ValidationInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticKnownError, SchemaValidator, core_schema

from cloudedge.documents.base import Part, Told
from cloudedge.names import NAME

ENTRY_POINTS = "cloudedge.kinds"
"""Group of the entry points by which installed packages offer kinds."""

RESERVED = frozenset({"history", "manifest", "report"})
"""Names of files that an order has whatever its kind; no output may have one of them."""

Which = Literal["WORK", "RESULT"]


class Work(Part):
    """What an order asks for, by its kind."""

    inputs: ClassVar[frozenset[str] | None] = None
    """Names of the files that the work begins with; none: any."""
    outputs: ClassVar[frozenset[str]] = frozenset()
    """Names of the files that it makes, but for the `RESERVED` ones."""
    may_lack: ClassVar[frozenset[str]] = frozenset()
    """Those of the outputs that a result may come without, where there is nothing to be made."""
    in_order: ClassVar[bool] = False
    """Whether no order of the kind may overtake an earlier one, not even one that cannot go on for now."""

    kind: str = Field(pattern=NAME, description="Kind of work.")


class UnknownWork(Work):
    """What an order asks for that is carried for others, of a kind that is not known here: kept as it stands."""

    model_config = ConfigDict(extra="allow")


class Result(Told):
    """What came of work, by its kind."""

    kind: str = Field(pattern=NAME, description="Kind of work.")


_BASES: dict[Which, type[Part]] = {"WORK": Work, "RESULT": Result}


@cache
def kinds() -> tuple[str, ...]:
    """Names of the kinds that come with cloudedge, sorted."""
    return tuple(sorted(module.name.replace("_", "-") for module in iter_modules(__path__)))


def module_of(kind: str) -> str:
    """Name of the module that one of these kinds is, here and at the edge."""
    return kind.replace("-", "_")


def installed_kinds() -> dict[str, str]:
    """The packages of the kinds that were installed beside those, by the kinds' names, sorted."""
    found = {entry.name: entry.value for entry in entry_points(group=ENTRY_POINTS)}
    return {name: found[name] for name in sorted(found.keys() - kinds())}


def any_of(which: Which) -> Any:
    """What is asked of work of any kind, or what comes of it, for pydantic: told apart by the kind.

    A kind's document is imported when one of its kind is read, and installed packages are looked for only where a kind is none
    of ours.
    """
    return Annotated[_BASES[which], _OfItsKind(which)]


class _OfItsKind:
    """Finds the document for what is read by its kind."""

    def __init__(self, which: Which) -> None:
        self._which = which

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_plain_validator_function(self._validated)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        documents = tuple(_ours(kind, self._which) for kind in kinds())
        union: Any = Annotated[Union[documents], Discriminator("kind")]  # noqa: UP007  # known when it runs
        return handler(TypeAdapter(union).core_schema)

    def _validated(self, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, _BASES[self._which]):
            return value
        if not isinstance(value, dict):
            raise PydanticKnownError("dict_type")
        if "kind" not in value:
            raise PydanticKnownError("union_tag_not_found", {"discriminator": "'kind'"})
        try:
            package = _package_of(value["kind"])
        except PydanticKnownError:
            if self._which == "WORK" and info.context and info.context.get("carried"):
                return UnknownWork.model_validate(value)
            raise
        return _validator(package, value["kind"], self._which).validate_python(value, context=info.context)


def _package_of(kind: Any) -> str:
    """The installed package that offers a kind; empty: it is one of ours.

    Raises:
        PydanticKnownError: nobody offers it; pydantic makes a fault of it.
    """
    if kind in kinds():
        return ""
    installed = installed_kinds()
    if not isinstance(kind, str) or kind not in installed:
        known = ", ".join(map(repr, sorted([*kinds(), *installed])))
        raise PydanticKnownError("union_tag_invalid", {"discriminator": "'kind'", "tag": str(kind), "expected_tags": known})
    return installed[kind]


@cache
def _validator(package: str, kind: str, which: Which) -> SchemaValidator:
    """Reads documents of one kind.

    Raises:
        ValueError: the installed package does not offer what it should; pydantic makes a fault of it.
    """
    if not package:
        return _reader(kind, _ours(kind, which))
    try:
        return _reader(kind, _installed(package, kind, which))
    except (Exception, SystemExit) as error:
        # A user's own code may raise anything, and end the process as it is imported; what it says is for its author.
        raise ValueError(
            f"the kind {kind!r} ({package}) cannot be loaded: {type(error).__name__}: {error}; mend its package"
        ) from error


def _ours(kind: str, which: Which) -> type[Part]:
    document: type[Part] = getattr(import_module(f"{__name__}.{module_of(kind)}"), which)
    return document


def _reader(kind: str, document: type[Part]) -> SchemaValidator:
    return SchemaValidator(core_schema.tagged_union_schema({kind: document.__pydantic_core_schema__}, discriminator="kind"))


def _installed(package: str, kind: str, which: Which) -> type[Part]:
    document, base = getattr(import_module(f"{package}.document"), which), _BASES[which]
    if not (isinstance(document, type) and issubclass(document, base)):
        raise TypeError(f"its {which} is no {base.__module__}.{base.__name__}, derive it")
    if issubclass(document, Work):
        for names in (document.inputs or frozenset(), document.outputs):
            if not isinstance(names, Set):
                raise TypeError(f"its inputs and outputs are to be sets of names, and {names!r} is none")
        if reserved := sorted(document.outputs & RESERVED):
            raise ValueError(f"its output {reserved[0]!r} is one that every order has, rename it")
    return document
