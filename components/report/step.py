"""The end of a run: the page that a person reads, and the word that it is over."""

from datetime import UTC, datetime

from cloud.runs.records import RunState
from cloud.runs.state import set_state
from cloud.step import step
from cloud.tracking import NOTE_TAG, TrackingRecord
from cloudedge.errors import NotFound
from components.report.findings import gather
from components.report.note import note
from components.report.page import render


def report_run(run_id: str) -> str:
    """Write the run's report and end the run.

    Returns:
        The report, one HTML page without anything outside it.

    Raises:
        NotFound: the run was not evaluated.
    """
    with step(run_id, "report") as work:
        if work.run.evaluation() is None:
            raise NotFound(f"Run {run_id} was not evaluated yet: run that step first.")
        state = work.run.state()
        if not (state and state.state == "finished"):
            set_state(work.run, RunState(state="finished", at=datetime.now(UTC)))
            work.log("finished")
        found = gather(work.run)  # Afterwards, so that the page says how the run ended.
        page, key = render(found), work.run.key("report.html")
        work.store.put(key, page.encode())
        at = work.written_at(work.run.key("state.json"))
        ended = TrackingRecord(at=at, status="finished", tags={NOTE_TAG: note(found)})
        work.track("report", ended, files={"report.html": key})
        work.relay()
        return page
