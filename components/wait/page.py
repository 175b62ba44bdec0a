"""How each edge fared in a step, as a page."""

from collections.abc import Callable, Mapping

from cloud.orders.watch import OrderWatch, Watched
from cloud.pages.markup import element
from cloud.runs.run import step_title
from cloud.runs.step_records import WaitRecord
from cloudedge.documents import Phase

_STYLE = (
    "body{font:14px system-ui,sans-serif;margin:1em}h2{font-size:1.2em}div{overflow-x:auto}"
    "table{border-collapse:collapse}th,td{padding:.3em .8em;border-bottom:1px solid #ddd;text-align:left;vertical-align:top}"
    "td{overflow-wrap:anywhere}td+td+td{white-space:nowrap}"
    # Kubeflow shows it in a panel beside the graph, where every edge gets lines of its own.
    "@media(max-width:34em){thead{display:none}tr{display:block;padding:.5em 0;border-bottom:1px solid #ddd}"
    "td{display:block;padding:.1em 0;border:0}td:empty{display:none}td:first-child{font-weight:600}"
    "td+td+td::before{content:attr(data-title)': '}}"
)


def page(watch: OrderWatch, record: WaitRecord, figures: Callable[[Watched], Mapping[str, str]]) -> str:
    """One HTML page with a row for each edge of a step.

    Args:
        watch: The edges.
        record: Who delivered.
        figures: What is known of an edge's order, by title.
    """
    delivered = {delivery.edge for delivery in record.delivered}
    known = {edge: figures(watched) for edge, watched in sorted(watch.edges.items())}
    titles = ("Edge", "State", *dict.fromkeys(title for of_edge in known.values() for title in of_edge))
    rows = []
    for edge, of_edge in known.items():
        state = Phase.DONE if edge in delivered else watch.edges[edge].state()
        cells = (edge, state, *(of_edge.get(title, "") for title in titles[2:]))
        rows.append(element("tr", *(element("td", cell, data_title=title) for title, cell in zip(titles, cells, strict=True))))
    titled = f"{step_title(watch.step)}: {len(delivered)} of {len(watch.edges)} edges delivered in {record.seconds:.1f} s"
    head = element("thead", element("tr", *(element("th", title) for title in titles)))
    return (
        "<!doctype html><meta charset='utf-8'><meta name='viewport' content='width=device-width'>"
        f"<style>{_STYLE}</style>"
        f"{element('h2', titled)}{element('div', element('table', head, element('tbody', *rows)))}"
    )
