"""HTML that cannot carry somebody's text as markup: whatever is no `Markup` already is escaped when it becomes part of it."""

from collections.abc import Iterable
from typing import TypeAlias

from markupsafe import Markup, escape

Attribute: TypeAlias = str | int | float | None

_VOID = frozenset({"br", "col", "img", "meta"})


def element(tag: str, *children: str, **attributes: Attribute) -> Markup:
    """An element.

    Args:
        tag: Its name.
        children: What stands in it; plain text is escaped.
        attributes: Its attributes; None leaves one out, a final underscore is dropped (`class_`), others become hyphens.
    """
    opening = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for name, value in attributes.items()
        if value is not None
    )
    whole = f"<{tag}{opening}>" if tag in _VOID else f"<{tag}{opening}>{joined(children)}</{tag}>"
    return Markup(whole)  # noqa: S704  # Names are ours, values escaped.


def joined(parts: Iterable[str]) -> Markup:
    """Parts one after the other; plain text is escaped."""
    return Markup("").join(parts)


def table(head: Iterable[str], rows: Iterable[Iterable[str]], class_: str = "") -> Markup:
    """A table of texts and cells; a cell that is no `td` or `th` already becomes a `td`. Wide ones scroll by themselves."""
    body = (element("tr", *(_cell(cell, "td") for cell in row)) for row in rows)
    whole = element(
        "table",
        element("thead", element("tr", *(_cell(cell, "th") for cell in head))),
        element("tbody", *body),
        class_=class_ or None,
    )
    return element("div", whole, class_="scroll")


def number(text: str, **attributes: Attribute) -> Markup:
    """A cell with a figure."""
    return element("td", text, **{"class_": "number", **attributes})


def _cell(content: str, tag: str) -> Markup:
    if isinstance(content, Markup) and content.startswith(("<td", "<th")):
        return content
    return element(tag, content)
