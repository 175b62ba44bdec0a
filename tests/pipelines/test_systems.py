"""A system that a user's package is: one that is broken or gone is said to be, and holds up nothing else."""

import re
from pathlib import Path

import pytest

from cloudedge.documents import Task, read_task
from cloudedge.errors import Conflict, InvalidDocument, InvalidInput, NotFound
from components.begin.entrypoint import run_begin
from components.systems import steps_of
from pipelines.laptop.home import Home
from pipelines.systems import system_named, system_of
from tests.cloud.runs.builders import Cloud
from tests.packages import TASK, install_system
from tests.terminal import Cloudedge

BROKEN = {
    "raises": ("raise RuntimeError('boom')", "cannot be loaded: RuntimeError: boom. Mend its package."),
    "no-python": ("def", "cannot be loaded: SyntaxError: invalid syntax"),
    "empty": ("", "cannot be loaded: AttributeError: module 'pkg_empty.task' has no attribute 'TASK'."),
    "number": ("TASK = 3", "has a TASK that is no type."),
    "no-task": ("class TASK: pass", "has a TASK that is no cloudedge.documents.task.Task of this kind."),
    "kindless": ("from cloudedge.documents import Task as TASK", "Derive it, with 'kindless' as the default of its kind."),
    "misnamed": (TASK.replace("{system}", "another"), "Derive it, with 'misnamed' as the default of its kind."),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_task_of_a_broken_package_is_refused_with_what_is_wrong(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, fault = BROKEN[name]
    package = f"pkg_{name.replace('-', '_')}"
    install_system(name, {"task": text}, tmp_path, monkeypatch, package)

    with pytest.raises(InvalidDocument, match=re.escape(fault)) as refused:
        read_task(f'{{"kind": "{name}", "name": "x", "id": "x"}}', "x.json")

    assert str(refused.value).startswith(f"x.json is not a valid task:\n  - kind: The system '{name}' ({package}) ")


def test_a_package_without_its_steps_or_its_pipeline_says_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_system("half", {"task": TASK, "system": "SYSTEM = None"}, tmp_path, monkeypatch)
    task = read_task('{"kind": "half", "name": "x", "id": "x"}', "x.json")

    with pytest.raises(
        InvalidInput, match=r"'half' \(half\) cannot be loaded: ModuleNotFoundError: No module named 'half.steps'"
    ):
        steps_of(task)
    with pytest.raises(InvalidInput, match=r"'half' \(half\) has a SYSTEM that is no System"):
        system_of(task)
    with pytest.raises(NotFound, match="There is no system 'whole'; there are: collaborative-training, .*, half"):
        system_named("whole")


@pytest.mark.parametrize("kind", ["3", "null", '["half"]', '""', '"Collaborative-Training"', '"../half"'])
def test_a_kind_that_is_no_systems_name_is_answered_with_those_that_there_are(kind: str) -> None:
    with pytest.raises(InvalidDocument) as refused:
        read_task(f'{{"kind": {kind}, "name": "x", "id": "x"}}', "x.json")

    (fault,) = refused.value.faults
    assert fault.startswith("kind: found ")
    assert "; install the package that is this system, or give one that there is here: collaborative-training, " in fault


def test_an_image_without_the_package_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        run_begin({"system": "half", "task_id": "x", "kubeflow_run_id": ""})

    assert "There is no system 'half' in this image: install the package that has it there." in capsys.readouterr().err


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home with a run of training, and one of a system whose package is gone."""
    cloud = Cloud(tmp_path / "home", "hall")
    cloud.run("ours", "finished")
    gone = cloud.run("gone", "running")
    cloud.store.put(gone.key("task.json"), b'{"kind": "tally", "name": "Labels", "id": "gone", "column": "label"}')
    cloud.store.put(gone.key("report.html"), b"<p>600 rows</p>")
    cloud.dispatch("gone", "hall")
    return Home(tmp_path / "home")


def test_a_run_of_a_system_that_is_gone_is_named_and_the_others_are_shown(home: Home, cloudedge: Cloudedge) -> None:
    listed = cloudedge("tasks", "list", "--home", home.folder, "--json")
    assert {row["id"]: row["state"] for row in listed.json} == {"ours": "finished", "gone": "unreadable"}
    assert "kind: found 'tally'; install the package that is this system" in listed.err

    shown = cloudedge("tasks", "show", "gone", "--home", home.folder)
    assert (shown.code, shown.out) == (2, "")
    assert "kind: found 'tally'; install the package that is this system" in shown.err


def test_what_a_run_of_a_system_that_is_gone_has_left_can_be_read(home: Home, tmp_path: Path, cloudedge: Cloudedge) -> None:
    assert cloudedge("report", "gone", "--home", home.folder, "-o", tmp_path / "page.html").code == 0
    assert (tmp_path / "page.html").read_bytes() == b"<p>600 rows</p>"
    assert cloudedge("events", "gone", "--home", home.folder).code == 0
    assert cloudedge("report", "nothing", "--home", home.folder).err == "There is no run 'nothing'; there are: gone, ours.\n"


@pytest.mark.parametrize("way", [("reap",), ("cancel", "gone")])
def test_the_orders_of_a_run_of_a_system_that_is_gone_are_closed(
    way: tuple[str, ...], home: Home, cloudedge: Cloudedge
) -> None:
    ended = cloudedge("tasks", *way, "--home", home.folder)

    assert (ended.code, ended.err) == (0, "")
    assert home.inboxes.read("hall").orders == ()


def test_a_run_of_a_system_that_is_gone_is_deleted(home: Home, cloudedge: Cloudedge) -> None:
    assert cloudedge("tasks", "cancel", "gone", "--home", home.folder).code == 0
    assert cloudedge("tasks", "delete", "gone", "--home", home.folder).code == 0
    assert list(home.store.folders("runs")) == ["ours"]


def test_a_run_that_has_ordered_keeps_its_task_whatever_became_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another task under its id would be given what the edges did for the first."""
    install_system("kept", {"task": TASK}, tmp_path / "packages", monkeypatch)
    cloud = Cloud(tmp_path)

    def asking(column: str) -> Task:
        return read_task(f'{{"kind": "kept", "name": "x", "id": "x", "column": "{column}"}}', "x.json")

    run = cloud.run("x", "failed")
    run.store.delete(run.key("task.json"))
    run.create(asking("state"))
    assert run.create(asking("label")), "nothing was ordered yet"
    run.store.put(run.step_key("count", "dispatch.json"), b"{}")

    with pytest.raises(Conflict, match="The id 'x' belongs to a run of another task"):
        run.create(asking("state"))
    assert run.task() == asking("label")
