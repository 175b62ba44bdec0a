"""What the two text storages share: reading line by line without trusting any line's length."""

from collections.abc import Iterator
from pathlib import Path

from cloudedge.errors import InvalidSamples

MAX_LINE = 64 * 1024 * 1024
"""Characters in a line; a longer one is refused before it fills the memory."""


def lines(file: Path) -> Iterator[str]:
    """Read a UTF-8 text file's lines, with or without a byte-order mark.

    Raises:
        InvalidSamples: a line is too long, or the text is not UTF-8.
    """
    number = 0
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            while line := stream.readline(MAX_LINE + 1):
                number += 1
                if len(line) > MAX_LINE:
                    raise InvalidSamples(f"{file}, line {number}: longer than {MAX_LINE} letters. Store large samples as npz.")
                yield line
    except UnicodeDecodeError as error:
        raise InvalidSamples(f"{file}, after line {number}: {error.reason}. Save the file as UTF-8.") from None
