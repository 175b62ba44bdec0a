"""The little Markdown that MLflow's pages are written in."""

import re
from collections.abc import Iterable, Sequence

_GAP = " &emsp;"
"""MLflow's pages put a table's columns side by side without any space."""


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; what a cell holds stays in its cell."""
    head, *body = (f"| {f'{_GAP}| '.join(map(_cell, line))} |" for line in (titles, *rows))
    return "\n".join([head, "|---" * len(titles) + "|", *body])


def plain(text: str) -> str:
    """A text as it is: what it quotes of somebody else's words becomes no image, no link and no tag."""
    escaped = re.sub(r"([\\`*_{}\[\]()#!|~])", r"\\\1", text)
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def code(text: str) -> str:
    """A name or a digest, as it is."""
    return f"`{text}`"


def _cell(text: str) -> str:
    return re.sub(r"[|\n]", " ", text)
