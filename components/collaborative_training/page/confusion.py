"""Which classes the final model takes for which."""

from collections.abc import Sequence

from markupsafe import Markup

from cloud.pages.markup import element, number, table

_MOST_CLASSES = 20
"""With more classes the confusions that occur most often are listed instead of drawn."""
_MOST_PAIRS = 15


def confusion_map(counts: Sequence[Sequence[int]], classes: Sequence[str]) -> Markup:
    """The confusion matrix, or the pairs confused most often if there are many classes.

    Args:
        counts: Samples by true class (rows) and predicted class (columns).
        classes: Names of the classes.
    """
    return _pairs(counts, classes) if len(classes) > _MOST_CLASSES else _matrix(counts, classes)


def _matrix(counts: Sequence[Sequence[int]], classes: Sequence[str]) -> Markup:
    rows = []
    for true, row in enumerate(counts):
        total = sum(row)
        cells = [element("th", classes[true], scope="row")]
        for predicted, times in enumerate(row):
            right = predicted == true
            share = times / total if total else 0.0
            title = f"{classes[true]} taken for {classes[predicted]}: {times:,} of {total:,}"
            # Rare confusions matter, so the colour of errors grows with the root of their share.
            heat = share * 0.8 if right else share**0.5 * 0.8
            style = f"--heat-share: {heat:.2f}" if times else None
            cells.append(number(f"{times:,}" if times else "", class_="right" if right else "wrong", style=style, title=title))
        found = f"{row[true] / total:.0%}" if total else ""
        rows.append([*cells, number(found, class_="number muted")])
    head = [
        "True \\ predicted",
        *(element("th", name, class_="number") for name in classes),
        element("th", "Found", class_="number"),
    ]
    return table(head, rows, "confusion")


def _pairs(counts: Sequence[Sequence[int]], classes: Sequence[str]) -> Markup:
    wrong = [
        (times, true, predicted)
        for true, row in enumerate(counts)
        for predicted, times in enumerate(row)
        if times and true != predicted
    ]
    wrong.sort(key=lambda pair: (-pair[0], pair[1], pair[2]))
    rows = (
        [classes[true], classes[predicted], number(f"{times:,}"), number(f"{times / sum(counts[true]):.1%}")]
        for times, true, predicted in wrong[:_MOST_PAIRS]
    )
    head = [
        "True class",
        "Taken for",
        element("th", "Samples", class_="number"),
        element("th", "Of its class", class_="number"),
    ]
    return table(head, rows)
