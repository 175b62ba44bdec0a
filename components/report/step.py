"""The end of a run: the page that a person reads, and the word that it is over."""

from dataclasses import replace
from datetime import UTC, datetime

from cloud.reports.report import Story
from cloud.runs.state import set_state
from cloud.runs.step_records import RunState
from cloud.step import step
from cloud.tracking import NOTE_TAG, TrackingRecord
from components.systems import steps_of


def report_run(run_id: str) -> str:
    """Write the run's report and end the run.

    Returns:
        The report, one HTML page without anything outside it.

    Raises:
        NotFound: the run is not done.
    """
    with step(run_id, "report") as work:
        system = steps_of(work.run.task())
        system.require_done(work.run)
        report = system.report(work.run)
        report.page()  # What a system's own code raises here leaves a run that can go on.
        state = work.run.state()
        if not (state and state.state == "finished"):
            set_state(work.run, RunState(state="finished", at=datetime.now(UTC)))
            work.log("finished")
        report = replace(report, story=Story.of(work.run))  # So that the page says how the run ended.
        page, key = report.page(), work.run.key("report.html")
        work.store.put(key, page.encode())
        at = work.written_at(work.run.key("state.json"))
        ended = TrackingRecord(at=at, status="finished", tags={NOTE_TAG: report.note()})
        work.track("report", ended, files={"report.html": key})
        work.relay()
        return page
