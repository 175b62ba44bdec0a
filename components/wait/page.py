"""How each edge fared in a step, as a page."""

from cloud.orders.watch import OrderWatch, Watched
from cloud.pages.markup import element
from cloud.runs.run import step_title
from cloud.runs.step_records import WaitRecord
from cloudedge.documents import Phase

_TITLES = ("Edge", "State", "Samples", "Epochs", "Accuracy before", "Accuracy after")
_STYLE = (
    "body{font:14px system-ui,sans-serif;margin:1em}h2{font-size:1.2em}div{overflow-x:auto}"
    "table{border-collapse:collapse}th,td{padding:.3em .8em;border-bottom:1px solid #ddd;text-align:left;vertical-align:top}"
    "td{overflow-wrap:anywhere}td+td+td{white-space:nowrap}"
    # Kubeflow shows it in a panel beside the graph, where every edge gets lines of its own.
    "@media(max-width:34em){thead{display:none}tr{display:block;padding:.5em 0;border-bottom:1px solid #ddd}"
    "td{display:block;padding:.1em 0;border:0}td:empty{display:none}td:first-child{font-weight:600}"
    "td+td+td::before{content:attr(data-title)': '}}"
)


def _accuracy(accuracy: float | None) -> str:
    return "not measured" if accuracy is None else f"{accuracy:.3f}"


def _figures(watched: Watched) -> tuple[str, str, str, str]:
    """Samples, epochs, and the accuracy before and after them."""
    if trained := watched.trained:
        before, after = (
            _accuracy(trained.scores[name].measured) if name in trained.scores else "" for name in ("base", "model")
        )
        return str(trained.samples), str(trained.epochs), before, after
    points = watched.report.points if watched.report else ()
    if not points:
        return "", "0", "", ""
    return "", str(points[-1].sequence), _accuracy(points[0].accuracy), _accuracy(points[-1].accuracy)


def page(watch: OrderWatch, record: WaitRecord) -> str:
    """One HTML page with a row for each edge of a step."""
    rows = []
    delivered = {delivery.edge for delivery in record.delivered}
    for edge, watched in sorted(watch.edges.items()):
        state = Phase.DONE if edge in delivered else watched.state()
        pairs = zip(_TITLES, (edge, state, *_figures(watched)), strict=True)
        rows.append(element("tr", *(element("td", cell, data_title=title) for title, cell in pairs)))
    titled = f"{step_title(watch.step)}: {len(delivered)} of {len(watch.edges)} edges delivered in {record.seconds:.1f} s"
    head = element("thead", element("tr", *(element("th", title) for title in _TITLES)))
    return (
        "<!doctype html><meta charset='utf-8'><meta name='viewport' content='width=device-width'>"
        f"<style>{_STYLE}</style>"
        f"{element('h2', titled)}{element('div', element('table', head, element('tbody', *rows)))}"
    )
