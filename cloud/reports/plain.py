"""The report of a run whose system draws none: who delivered in which step."""

from cloud.pages import markdown
from cloud.pages.markup import table
from cloud.pages.words import count
from cloud.reports.report import Report, Story, section
from cloud.runs.run import Run, step_title
from cloud.runs.step_records import WaitRecord


def plain_report(run: Run) -> Report:
    """Tell of a run what is known of any."""
    waits = [(name, record) for name in run.steps() if (record := run.waited(name))]
    delivered = sum(len(record.delivered) for _, record in waits)
    asked = delivered + sum(len(record.missing) for _, record in waits)
    rows = [(step_title(name), *row) for name, record in waits for row in _rows(record)]
    titles = ("Step", "Edge", "Result")
    return Report(
        Story.of(run),
        headline=f"{count(delivered, 'result')} of {count(asked, 'order')}.",
        facts=[("Steps", str(len(waits)))],
        sections=[section("The edges", table(titles, rows))] if rows else (),
        tables=[markdown.table(titles, rows)] if rows else (),
    )


def _rows(record: WaitRecord) -> list[tuple[str, str]]:
    rows = [(delivery.edge, "delivered") for delivery in record.delivered]
    return sorted(rows + [(missing.edge, missing.reason) for missing in record.missing])
