"""The report's tables, which the page and MLflow's note both have: each cell is a text and a remark on it."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from markupsafe import Markup

from cloud.pages import markdown
from cloud.pages.markup import element, table
from cloud.pages.words import count, duration, share
from cloudedge.automl.screen import amount, candidate_in_words, times
from cloudedge.documents.automl import Limit, NothingFeasible
from components.edge_automl.page.findings import DeviceStory, Findings, beyond, in_times
from components.edge_automl.page.words import costs, limits

_COSTS = ("Latency", "Beside a neighbour", "Memory", "Energy")


class Cell(NamedTuple):
    """What stands in a table, and what is to be known of it."""

    text: str
    remark: str = ""


class Table(NamedTuple):
    """A table. A column in which nothing is known is left out.

    Attributes:
        titles: Of its columns.
        texts: Titles of those that have words; all others have figures.
        rows: Its rows.
    """

    titles: Sequence[str]
    texts: frozenset[str]
    rows: Sequence[Sequence[Cell]]

    def markup(self, class_: str = "") -> Markup:
        """For the page, as a table of a class."""
        head = [title if title in self.texts else element("th", title, class_="number") for title in self._known]
        rows = [[self._cell(title, cell) for title, cell in self._cells(row)] for row in self.rows]
        return table(head, rows, class_)

    def markdown(self) -> str:
        """For MLflow."""
        rows = [[markdown.plain("; ".join(filter(None, cell))) for _, cell in self._cells(row)] for row in self.rows]
        return markdown.table(self._known, rows)

    @property
    def _known(self) -> list[str]:
        return [title for place, title in enumerate(self.titles) if any(any(row[place]) for row in self.rows)]

    def _cells(self, row: Sequence[Cell]) -> list[tuple[str, Cell]]:
        return [(title, cell) for title, cell in zip(self.titles, row, strict=True) if title in self._known]

    def _cell(self, title: str, cell: Cell) -> Markup:
        content = [cell.text, *([element("br"), element("span", cell.remark, class_="note")] if cell.remark else [])]
        return element("td", *content, class_=None if title in self.texts else "number")


def devices(devices: Sequence[DeviceStory]) -> Table:
    """What each device's model costs there, or why it has none."""
    titles = ("Device", "Model", "Accuracy", *_COSTS, "Trained", "Screened out")
    return Table(titles, frozenset(titles[:2]), [_device(device) for device in devices])


def trials(device: DeviceStory) -> Table:
    """What was trained on a device, or refused before it was."""
    titles = ("Network", "What became of it", "Accuracy", *_COSTS, "Training")
    rows = []
    for trial, outcome, _, _ in device.tried():
        if trial.accuracy is None and trial.measured is None and not trial.fault:
            continue  # The screen kept it away, as it did those that the search never came to.
        measured, predicted = costs(trial.measured), costs(trial.predicted)
        known = [Cell(*pair) for pair in zip(measured, predicted, strict=True)]
        lasted = Cell(count(trial.epochs, "epoch"), duration(trial.seconds)) if trial.epochs else Cell("")
        rows.append(
            [
                Cell(candidate_in_words(trial.candidate), trial.loss),
                Cell(outcome),
                Cell(share(trial.accuracy)),
                *known,
                lasted,
            ]
        )
    return Table(titles, frozenset(titles[:2]), rows)


def remedies(nothing: NothingFeasible) -> Table:
    """What would have to change for a network to fit."""
    titles = ("Any of these networks would fit", "If this limit", "Were", "Instead of", "Which is")
    rows = []
    for remedy in nothing.remedies:
        for place, change in enumerate(remedy.changes):
            network = candidate_in_words(remedy.candidate) if place == 0 else "and, for the same one,"
            factor = f"{times(change.needed / change.allowed)} times as much" if change.allowed else ""
            needed, allowed = amount(change.limit, change.needed), amount(change.limit, change.allowed)
            rows.append([Cell(network), Cell(change.limit), Cell(needed), Cell(allowed), Cell(factor)])
    return Table(titles, frozenset(titles[:2]), rows)


def held(device: DeviceStory, why: Mapping[Limit, str]) -> Table:
    """The limits that held on a device."""
    titles = ("Limit", "At most", "Where it comes from", "Broken by so many networks")
    found = limits(device.result.limits) if device.result else {}
    rows = [
        [Cell(limit), Cell(most), Cell(why.get(limit, "")), Cell(f"{device.by_limit.get(limit, 0):,}" if device.record else "")]
        for limit, most in found.items()
    ]
    return Table(titles, frozenset((titles[0], titles[2])), rows)


def elsewhere(found: Findings, edge: str, most: int) -> tuple[Table, int]:
    """What a device's model costs on each device: measured on its own, predicted on the others.

    Args:
        found: What is known of the searches.
        edge: The device.
        most: Devices that are told of, its own first.

    Returns:
        The table, and how many devices more there are.
    """
    titles = ("Device", *_COSTS, "Known", "Limits there")
    rows: list[list[Cell]] = []
    own = found.device(edge)
    if own is None or own.model is None or own.model.candidate is None:
        return Table(titles, frozenset(), rows), 0
    devices = [own, *(device for device in found.devices if device is not own and device.result)]
    for device in devices[:most]:
        there = device.predicted(own.model.candidate)
        known = own.model.costs if device is own else there.predicted if there else None
        if known is not None and device.result is not None:
            # It is not to be trained there.
            broken = in_times(beyond(known, device.result.limits.model_copy(update={"training_bytes": None})))
            how = "measured" if device is own else "predicted"
            rows.append([Cell(device.name), *map(Cell, costs(known)), Cell(how), Cell(broken or "kept")])
    return Table(titles, frozenset((titles[0], *titles[-2:])), rows), max(0, len(devices) - most)


def _device(device: DeviceStory) -> list[Cell]:
    result, model = device.result, device.model
    if result is None:
        return [Cell(device.name), Cell(device.fault or device.standing), *map(Cell, [""] * 7)]
    name = candidate_in_words(model.candidate) if model and model.candidate else "none"
    if result.nothing:
        why = "it can bear no network"
    else:
        why = device.refusal or device.fault or ("" if model else "none that was trained keeps the limits")
    allowed = limits(result.limits)
    known = dict(zip(("latency", "bound", "memory", "energy"), costs(model.costs if model else None), strict=True))
    return [
        Cell(device.name),
        Cell(name, why),
        Cell(share(model.accuracy if model else None)),
        Cell(known["latency"]),
        *(
            Cell(known[cost], f"limit {allowed[limit]}" if limit in allowed else "")
            for cost, limit in (("bound", "latency"), ("memory", "memory"), ("energy", "energy"))
        ),
        Cell(f"{result.trained:,}", f"{result.refused:,} refused" if result.refused else ""),
        Cell(f"{result.screened_out:,}"),
    ]
