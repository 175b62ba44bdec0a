"""Texts that were written elsewhere, on their way to a terminal, a page or a log."""

import re

_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""What a terminal or a browser obeys instead of showing it: control characters (but tabs and ends of lines), characters that
turn the direction of writing, and halves of surrogate pairs, which no encoding takes."""


def readable(text: str) -> str:
    """The text with U+FFFD in place of each character that is obeyed and not shown, so that it can only be read."""
    return _OBEYED.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n"))


def shortened(text: str, most: int) -> str:
    """The text, or of a longer one its beginning and how much is missing; at most so many characters."""
    if len(text) <= most:
        return text
    end = f" ... ({len(text)} characters in all)"
    return text[: most - len(end)] + end


def shown(value: object) -> str:
    """A value that was found, as a message shows it: on one line, and not too long."""
    found = repr(value)
    return found if len(found) <= 80 else found[:77] + "..."
