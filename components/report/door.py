"""From a report to its artifact."""

from typing import Any

from components.report.step import report_run
from components.shared.artifacts import put_page
from components.shared.doors import door


@door
def fill_report(run_id: str, page: Any) -> None:
    """Write the report and fill the step's artifact."""
    put_page(report_run(run_id), page)
