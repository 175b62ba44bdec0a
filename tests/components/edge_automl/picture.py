"""The picture of the guide, drawn by the code that draws it in reports: python -m tests.components.edge_automl.picture"""

import tempfile
from importlib.resources import files
from pathlib import Path

from cloudedge.documents.tasks.edge_automl import Allowed
from cloudedge.store import DirectoryStore
from components.edge_automl.page.charts import ends_of, pareto_chart
from components.edge_automl.page.findings import gather
from components.edge_automl.page.sections import plane_of
from tests.components.edge_automl.searches import SITES, Searches, task

PICTURE = Path(__file__).parents[3] / "docs" / "images" / "pareto.svg"


def drawn() -> str:
    """A search on a drawn device, as a file by itself that follows light and dark."""
    with tempfile.TemporaryDirectory() as folder:
        searches = Searches(DirectoryStore(Path(folder)), task(allowed=Allowed(latency_ms=2.8)), {"gate-1": SITES["gate-1"]})
        plane = plane_of(gather(searches.ended()).devices[0])
    ends = ends_of([dot.accuracy for dot in plane.measured if dot.accuracy is not None])
    chart = pareto_chart("guide", plane, ends, wide=True)
    colours, _ = files("cloud.reports").joinpath("page.css").read_text("utf-8").split("\n* {", 1)
    opening, rest = str(chart).split(">", 1)
    opening = opening.replace("<svg", '<svg xmlns:xlink="http://www.w3.org/1999/xlink"', 1)
    return f"{opening}>\n<style>\n{colours}\nsvg {{ font-family: var(--font); }}\n</style>\n{rest}\n"


if __name__ == "__main__":
    PICTURE.write_text(drawn(), "utf-8")
    print(PICTURE)
