"""A notebook in a real JupyterLab, looked at in a browser: what a cell shows while a run is under way, and afterwards."""

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
import psutil
import pytest

from tests.cluster.processes import free_port
from tests.docs.pages import ROOT
from tests.waiting import until

if TYPE_CHECKING:
    from playwright.sync_api import Page

SETTINGS = {
    "@jupyterlab/apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/notebook-extension/tracker": {"windowingMode": "none"},  # What is out of sight is there, too.
}
"""JupyterLab's, by their files: it asks nobody for news, in a place without internet."""

CELLS = [
    """
import numpy, pandas
from pipelines import Laptop, Task, compare

def machines(rows, vibration=0.0, temperature=0.0):
    chance, worn = numpy.random.default_rng(rows), numpy.arange(rows) % 2
    shown = {
        "vibration": chance.normal(2 + 1.5 * worn + vibration, 0.5),
        "temperature": chance.normal(60 + 12 * worn + temperature, 4),
    }
    return pandas.DataFrame({**shown, "state": numpy.where(worn, "worn", "good")})

data = {
    "cloud": machines(40),
    "edges": {"hall-1": machines(300, 1.5), "hall-2": machines(300, 0, 15)},
    "test": {"hall-1": machines(200, 1.5), "hall-2": machines(200, 0, 15)},
}
laptop = Laptop("home")
bearings = Task.for_data(data, label="state", name="Bearings", id="bearings", collaboration={"rounds": 4})
bearings
""",
    "run = laptop.run(bearings, data)\nrun",
    'laptop.sweep(bearings, {"collaboration.rounds": [1, 2]}, data, seeds=2)',
    'laptop.run(bearings.changed({"collaboration.fusion.rule": "magic"}, id="other"), data)',
]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[str]:
    """Address of a notebook in a JupyterLab that works in an empty folder, as a user starts it."""
    cells = [nbformat.v4.new_code_cell(cell.strip()) for cell in CELLS]  # type: ignore[no-untyped-call]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata=kernel)  # type: ignore[no-untyped-call]
    nbformat.write(notebook, tmp_path / "bearings.ipynb")  # type: ignore[no-untyped-call]
    port = free_port()
    token = secrets.token_hex()
    own = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
    settings = tmp_path / ".jupyter" / "settings"
    for name, values in SETTINGS.items():
        file = settings / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(values))
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("CLOUDEDGE_", "MLFLOW_", "PYTEST_"))},
        **{name: str(tmp_path / ".jupyter" / name) for name in own},
        "JUPYTERLAB_SETTINGS_DIR": str(settings),
        "PYTHONPATH": str(ROOT),
    }
    options = (
        "--no-browser",
        "--allow-root",
        f"--port={port}",
        "--ServerApp.port_retries=0",
        f"--IdentityProvider.token={token}",
    )
    log = tmp_path / "jupyter.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *options], cwd=tmp_path, env=environment, stdout=output, stderr=output
        )
    try:
        until(lambda: server.poll() is not None or "is running at" in log.read_text(), what="JupyterLab")
        yield f"http://127.0.0.1:{port}/lab/tree/bearings.ipynb?token={token}"
    finally:
        server.terminate()
        server.wait()


def test_a_run_is_watched_read_and_put_right_in_jupyterlab(lab: str, page: "Page", tmp_path: Path) -> None:
    page.goto(lab)
    cells = page.locator(".jp-Notebook .jp-Cell")
    run, sweep, wrong = (cells.nth(number).locator(".jp-OutputArea-output") for number in (1, 2, 3))
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()

    # While it is under way, one output is drawn again and again: the edges at work, and how good the model has become.
    live = run.first.locator("pre")
    live.get_by_text("hall-1").wait_for()
    assert run.count() == 1
    # Afterwards it says what happened, and the report follows.
    report = run.nth(1).frame_locator("iframe")
    report.get_by_role("heading", name="Fused model").wait_for()
    assert "Round 4: 2 models fused" in live.inner_text()
    assert run.count() == 2
    sweep.get_by_text("4 of 4 runs done").wait_for()
    sweep.locator("table").get_by_text("spread").first.wait_for()
    assert sweep.count() == 2
    wrong.get_by_text("InvalidInput").first.wait_for()
    text = cells.nth(3).inner_text()
    assert "InvalidInput: There is no fusion rule 'magic'" in text
    assert "Traceback" not in text

    # Nothing outlives the kernel.
    kernel = next(process for process in psutil.process_iter() if _is_a_kernel_in(process, tmp_path))
    children = kernel.children(recursive=True)
    assert len(children) > 2
    page.get_by_role("menuitem", name="Kernel", exact=True).click()
    page.get_by_role("menuitem", name="Shut Down Kernel", exact=True).click()
    psutil.wait_procs([kernel, *children], 120)
    assert not [child for child in children if child.is_running()]


def _is_a_kernel_in(process: psutil.Process, folder: Path) -> bool:
    try:
        return "ipykernel_launcher" in process.cmdline() and process.cwd() == str(folder)
    except psutil.Error:  # It has ended meanwhile.
        return False
