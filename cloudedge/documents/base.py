"""What all documents have in common: strictness, versions, and errors that a person can act on."""

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo

from cloudedge import __version__
from cloudedge.errors import InvalidDocument
from cloudedge.names import IN_WORDS
from cloudedge.texts import readable, shortened, shown


class Part(BaseModel):
    """A piece of a document: immutable, and refusing fields that it does not know."""

    called: ClassVar[str] = ""
    """What people call it; empty: by its class's name."""
    form_names: ClassVar[Mapping[str, str]] = {}
    """What a field is called on a pipeline's form, where not by its own name; empty: what is in it goes by its own alone."""
    one_on_forms: ClassVar[bool] = False
    """Whether it is one field there, and not one for each of its own."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings", protected_namespaces=())


class Document(Part):
    """A whole document, with its version."""

    schema_version: Literal[1] = Field(default=1, description="Version of this document's form.")

    def to_json(self) -> bytes:
        """The document as indented UTF-8 JSON with a final newline."""
        return self.model_dump_json(indent=2).encode() + b"\n"


WHICH_VERSIONS = "Version of this document's form; 1, as cloudedge 0.1 wrote it, is understood, too."


class Versioned(Document):
    """A document whose form has changed since cloudedge 0.1."""

    schema_version: Literal[1, 2] = Field(default=2, description=WHICH_VERSIONS)  # type: ignore[assignment]


class Told(Part):
    """What an edge says. It may be of a later version, and say more than is understood here: that is passed over."""

    model_config = ConfigDict(extra="ignore")


REMEDIES = {
    "dict_type": "give an object in braces",
    "greater_than": "give more than {gt}",
    "greater_than_equal": "give {ge} or more",
    "less_than": "give less than {lt}",
    "less_than_equal": "give {le} or less",
    "literal_error": "give {expected}",
    "model_type": "give an object in braces",
    "string_too_long": "give at most {max_length} characters",
    "too_long": "give at most {max_length}",
    "too_short": "give at least {min_length}",
    "tuple_type": "give a list in brackets",
    "union_tag_invalid": "install the package that has this kind, or give one that is known here: {expected_tags}",
    "union_tag_not_found": "add its kind",
}
"""What to do about a value, by pydantic's type of fault; its own words where this has none."""

_MOST_FAULTS = 50
"""Faults that a message lists; a document may have as many as it has bytes."""

DocumentT = TypeVar("DocumentT", bound=Part)

STORED: Mapping[str, bool] = {"stored": True}
"""Validation context of documents that were accepted when they were new: rules made since then do not make them unreadable."""

CARRIED: Mapping[str, bool] = {"stored": True, "carried": True}
"""That of documents that are carried for others, and hold orders of kinds that are not known here."""


def is_stored(info: ValidationInfo) -> bool:
    """Whether a document was accepted before."""
    return bool(info.context and info.context.get("stored"))


def parse(
    kind: type[DocumentT],
    content: bytes | str,
    source: str,
    max_bytes: int = 16 * 1024 * 1024,
    *,
    stored: bool = False,
    carried: bool = False,
) -> DocumentT:
    """Read a document from JSON, or say what is wrong with it: everything at once, up to 50 faults.

    Args:
        kind: Class of the document.
        content: JSON text.
        source: Where it came from, for the message.
        max_bytes: Larger content is refused before it is parsed.
        stored: Whether it was accepted before, see `STORED`.
        carried: Whether it is carried for others, see `CARRIED`.

    Raises:
        InvalidDocument: too large, not JSON, or not such a document; names each field, its value and what is expected.
    """
    title = f"{source} is not a valid {kind.called or kind.__name__.lower()}:"
    if len(content) > max_bytes:
        raise InvalidDocument(title, [f"it has {len(content)} bytes; at most {max_bytes} are allowed"])
    try:
        value = json.loads(content, object_pairs_hook=unambiguous)
    except RepeatedKey as error:
        raise InvalidDocument(title, [str(error)]) from None
    except (ValueError, RecursionError) as error:
        raise InvalidDocument(title, [f"it is not JSON: {error}"]) from None
    if isinstance(value, dict):
        value.pop("$schema", None)  # It tells editors where the schema is and means nothing to us.
    try:
        return kind.model_validate(value, context=CARRIED if carried else STORED if stored else None)
    except ValidationError as error:
        faults = [fault for fault in error.errors(include_url=False) if not _is_echo(fault)]
        more = [f"and {len(faults) - _MOST_FAULTS} more faults"] if len(faults) > _MOST_FAULTS else []
        raise InvalidDocument(title, [_fault(fault) for fault in faults[:_MOST_FAULTS]] + more) from None


class RepeatedKey(Exception):
    """A key that stands twice in one object: JSON's readers take one of the values, and not all the same one."""


def unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object's keys and values as a dictionary, for `json.loads`.

    Raises:
        RepeatedKey: a key stands there twice.
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        name, times = Counter(name for name, _ in pairs).most_common(1)[0]
        raise RepeatedKey(f"the key {name!r} stands {times} times in one object; keep one")
    return found


def canonical_json(value: Any) -> bytes:
    """JSON with sorted keys and no spaces: equal values give equal bytes, fit to be digested."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def each_once(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names as they are, if none stands there twice.

    Raises:
        ValueError: one does; pydantic makes a fault of it.
    """
    name, times = max(Counter(names).items(), key=lambda item: item[1], default=("", 0))
    if times > 1:
        raise ValueError(f"{name!r} stands there {times} times; name each once")
    return names


def _is_echo(fault: Any) -> bool:
    """Whether pydantic calls a list too short only because it does not count the items that are wrong."""
    return bool(fault["type"] == "too_short" and len(fault["input"]) >= fault["ctx"]["min_length"])


def _fault(fault: Any) -> str:
    # Of a field that is not ours, whoever wrote the document chose the name.
    place = ".".join(shortened(readable(str(step)), 100) for step in fault["loc"]) or "the document"
    if fault["type"] == "missing":
        return f"{place}: missing; add it"
    if fault["type"] == "extra_forbidden":
        return f"{place}: no such field; remove it or correct its name"
    context = fault.get("ctx", {})
    if fault["loc"][-1:] == ("schema_version",) and fault["type"] == "literal_error" and isinstance(fault["input"], int):
        remedy = f"give {context['expected']}, or use a cloudedge that knows {fault['input']}: this is {__version__}"
    elif fault["type"] in REMEDIES:
        remedy = REMEDIES[fault["type"]].format(**context)
    else:
        remedy = IN_WORDS.get(context.get("pattern", ""), fault["msg"].removeprefix("Value error, "))
    return f"{place}: found {shown(fault['input'])}; {remedy[:1].lower()}{remedy[1:]}"
