"""What was measured while the edges worked on a step, point by point."""

from collections.abc import Sequence

from cloud.orders.watch import OrderWatch
from cloud.runs.run import Run
from cloudedge.documents import History, Point, parse
from cloudedge.documents.report import MAX_HISTORY_BYTES
from cloudedge.errors import CloudedgeError


def points_of_step(run: Run, step: str) -> dict[str, Sequence[Point]]:
    """The points of each edge's work: all of them once all is waited for, before that and of work that failed the last ones.

    What cannot be read has no points.
    """
    try:
        waited = run.waited(step)
        watch = OrderWatch.of(run, step)
        watch.look()
    except CloudedgeError:
        return {}
    found: dict[str, Sequence[Point]] = {edge: watched.report.points for edge, watched in watch.edges.items() if watched.report}
    for delivery in waited.delivered if waited else ():
        try:
            content = run.output(delivery, "history", MAX_HISTORY_BYTES)
            found[delivery.edge] = parse(History, content, f"The history of {delivery.edge}", MAX_HISTORY_BYTES).points
        except CloudedgeError:
            continue
    return found
