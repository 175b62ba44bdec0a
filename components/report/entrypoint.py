"""From a report to its artifact."""

from cloud.entrypoints.artifacts import Artifact, put_page
from cloud.entrypoints.entrypoint import entrypoint
from components.report.step import report_run


@entrypoint
def fill_report(run_id: str, page: Artifact) -> None:
    """Write the report and fill the step's artifact."""
    put_page(report_run(run_id), page)
