"""What the two text storages share: reading line by line without trusting any line's length."""

import codecs
from collections.abc import Iterator
from pathlib import Path

from cloudedge.errors import InvalidSamples
from cloudedge.places import shown_path

MAX_LINE = 64 * 1024 * 1024
"""Characters in a line; a longer one is refused before it fills the memory."""


def lines(file: Path) -> Iterator[str]:
    """Read a UTF-8 text file's lines, with or without a byte-order mark.

    Raises:
        InvalidSamples: a line is too long, or the text is not UTF-8.
    """
    number = 0
    _require_utf8(file)
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            while line := stream.readline(MAX_LINE + 1):
                number += 1
                if len(line) > MAX_LINE:
                    raise InvalidSamples(
                        f"{shown_path(file)}, line {number}: longer than {MAX_LINE} letters. Store large samples as npz."
                    )
                yield line
    except UnicodeDecodeError as error:
        raise InvalidSamples(f"{shown_path(file)}, after line {number}: {error.reason}. Save the file as UTF-8.") from None


def _require_utf8(file: Path) -> None:
    """Name the other Unicode that spreadsheets write, which begins with a mark of its own."""
    with file.open("rb") as stream:
        begin = stream.read(len(codecs.BOM_UTF16_LE))
    if begin in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        raise InvalidSamples(f"{shown_path(file)} is UTF-16, not UTF-8. Save it as UTF-8 ('CSV UTF-8' in spreadsheets).")
