"""How each edge fared in a step, as a page."""

from cloud.orders.watch import OrderWatch
from cloud.pages.markup import element
from cloud.runs.run import step_title
from cloud.runs.step_records import WaitRecord
from cloudedge.documents import EpochRecord, Phase

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


def _accuracy(record: EpochRecord) -> str:
    return "not measured" if record.scores.measured is None else f"{record.scores.measured:.3f}"


def page(watch: OrderWatch, record: WaitRecord) -> str:
    """One HTML page with a row for each edge of a step."""
    rows = []
    delivered = {delivery.edge for delivery in record.delivered}
    for edge, watched in sorted(watch.edges.items()):
        trained = watched.trained
        history = trained.history if trained else watched.report.history if watched.report else ()
        before, after = (_accuracy(history[end]) if history else "" for end in (0, -1))
        state = Phase.DONE if edge in delivered else watched.state()
        samples = trained.samples if trained else ""
        cells = (edge, state, samples, max(len(history) - 1, 0), before, after)
        pairs = zip(_TITLES, cells, strict=True)
        rows.append(element("tr", *(element("td", str(cell), data_title=title) for title, cell in pairs)))
    titled = f"{step_title(watch.step)}: {len(delivered)} of {len(watch.edges)} edges delivered in {record.seconds:.1f} s"
    head = element("thead", element("tr", *(element("th", title) for title in _TITLES)))
    return (
        "<!doctype html><meta charset='utf-8'><meta name='viewport' content='width=device-width'>"
        f"<style>{_STYLE}</style>"
        f"{element('h2', titled)}{element('div', element('table', head, element('tbody', *rows)))}"
    )
