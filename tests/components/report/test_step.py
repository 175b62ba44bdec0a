"""The end of a run, whatever system's it is."""

from pathlib import Path

import pytest

from cloud.runs.run import Run
from cloudedge.documents import read_task
from components.begin.step import begin_run
from components.report.step import report_run
from tests.components.cloud import Cloud
from tests.packages import TASK, install_system

STEPS = """
import os
from components.systems import SystemSteps
from drawn.task import TASK

class Steps(SystemSteps[TASK]):
    document = TASK

    def orders(self, work, task, step):
        return None

    def report(self, run):
        if "MENDED" not in os.environ:
            raise ZeroDivisionError("no rows")
        return super().report(run)

STEPS = Steps()
"""


def test_a_run_whose_report_breaks_is_not_finished_and_goes_on_once_that_is_mended(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_system("drawn", {"task": TASK, "steps": STEPS}, tmp_path / "packages", monkeypatch)
    begin_run(read_task('{"kind": "drawn", "name": "x", "id": "x"}', "x.json"))
    run = Run(cloud.store, "x")

    with pytest.raises(ZeroDivisionError):
        report_run("x")
    state = run.state()
    assert state is not None
    assert (state.state, state.message) == ("failed", "report broke: ZeroDivisionError: no rows")

    monkeypatch.setenv("MENDED", "1")
    page = report_run("x")
    state = run.state()
    assert state is not None
    assert state.state == "finished"
    assert "Run finished." in page
