"""Reading a page as a browser would, strictly."""

from collections import Counter
from html.parser import HTMLParser

VOID = {"meta", "br", "col"}


class Page(HTMLParser):
    """What stands on a page: its elements, its texts, its tables. Refuses elements that are not closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.ids: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[str] = []
        self.titles: list[str] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.classes: dict[str, list[str]] = {}
        """Texts of the cells with a class."""
        self._open: list[str] = []
        self._rows: list[list[str]] = []
        self._cell: list[str] | None = None
        self._cell_classes: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        found = {name: value or "" for name, value in attrs}
        self.attributes += [(tag, name, value) for name, value in found.items()]
        self.ids.update([found["id"]] if "id" in found else [])
        if tag not in VOID:
            self._open.append(tag)
        if tag == "table":
            self._rows = self.tables.setdefault(found.get("class", ""), [])
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th"):
            self._cell, self._cell_classes = [], found.get("class", "").split()

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag
        if tag in ("td", "th") and self._cell is not None:
            text = " ".join(self._cell)
            self._rows[-1].append(text)
            for name in self._cell_classes:
                self.classes.setdefault(name, []).append(text)
            self._cell = None

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "title" and "svg" in self._open:
            self.titles.append(data)
            return
        if data.strip():
            self.texts.append(data)
            if self._cell is not None:
                self._cell.append(data)

    @property
    def text(self) -> str:
        """All that a person reads, the hints of drawings excepted."""
        return " ".join(self.texts)
