"""Patterns of the names that become paths, object keys and Kubernetes objects, and the digest of a file.

A name is checked where it enters (in a document, on a command line), never where it is used.
"""

import hashlib
import re
import unicodedata
from pathlib import Path

from cloudedge.errors import InvalidInput

LONGEST_NAME = 53
"""Characters of a `NAME`."""

NAME = rf"^[a-z0-9]([a-z0-9-]{{0,{LONGEST_NAME - 2}}}[a-z0-9])?$"
"""Task ids and edge names: lower-case letters, digits and inner hyphens, at most 53 characters (a DNS label with room
for the prefixes that Kubernetes objects get)."""

MAYBE_NAME = rf"^({NAME[1:-1]})?$"
"""The same, or nothing."""

FILE_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
"""A file's name without folders."""

FIELD_NAME = r"^[A-Za-z_][A-Za-z0-9_.-]{0,99}$"
"""A field of a sample, and the label."""

SHA256 = r"^[0-9a-f]{64}$"
"""A SHA-256 digest in lower-case hexadecimal digits."""

ORDER_ID = r"^[a-z0-9-]{1,53}\.[a-z0-9-]{1,53}\.[a-z0-9-]{1,53}\.[0-9]{1,4}$"
"""run.step.edge.attempt"""

FOLDER = r"^/[^\x00-\x1f]+$"
"""A folder of a machine's own, by its whole path."""

ATTEMPTS = 9_999
"""The largest number that has a place in it."""

_SYSTEM = frozenset(
    {
        "#recycle",
        "#snapshot",
        "$recycle.bin",
        "@eadir",
        "__macosx",
        "lost+found",
        "system volume information",
    }
)
"""What operating systems and storage boxes put into folders, in lower case; all else of theirs begins with a dot."""

IN_WORDS = {
    NAME: "use lower-case letters, digits and inner hyphens, at most 53 characters",
    MAYBE_NAME: "use lower-case letters, digits and inner hyphens, at most 53 characters, or leave it empty",
    FILE_NAME: "use a file name without folders: letters, digits, dots, underscores and hyphens, at most 100 characters",
    FIELD_NAME: "use a letter or underscore, then letters, digits, dots, underscores and hyphens, at most 100 characters; what "
    'the files call it goes, as it stands there, into "column" (of the label: "label_column")',
    SHA256: "give 64 lower-case hexadecimal digits",
    ORDER_ID: "give run.step.edge.attempt",
    FOLDER: "give the whole path of a folder, from / on",
}
"""What to say to a person whose text does not match a pattern."""


def checked_name(value: str, what: str) -> str:
    """Return the name as it is, if it is one.

    Raises:
        InvalidInput: it does not match `NAME`.
    """
    if not re.fullmatch(NAME, value):
        raise InvalidInput(f"{value!r} is not a name of {what}: {IN_WORDS[NAME]}.")
    return value


def is_passed_over(name: str) -> bool:
    """Whether a file or folder of this name is hidden, or the operating system's own."""
    return name.startswith(".") or name.lower() in _SYSTEM


def folded(name: str) -> str:
    """A name from people's data as it is compared: in composed Unicode (NFC), spaces of any kind and number being one.

    macOS and some programs take letters apart ("e" and an accent), which looks the same and is another text.
    """
    return " ".join(unicodedata.normalize("NFC", name).split())


def sha256_of(path: Path) -> str:
    """Digest of a file's bytes, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
