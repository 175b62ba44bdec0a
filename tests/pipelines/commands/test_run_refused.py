"""cloudedge run says what is wrong before it starts anything."""

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy
import pytest

from cloudedge.documents import Fusion
from cloudedge.documents.inspection import InspectionTraining
from cloudedge.documents.tasks.inspection_training import InspectionTrainingTask
from cloudedge.errors import StoreFailed, WorkFailed
from edge.lock import locked
from pipelines.laptop.data import Data
from pipelines.laptop.home import Home
from pipelines.laptop.processes import Program, Runners
from pipelines.laptop.run import require_space
from tests.components.cloud import Cloud
from tests.digits import EDGES, digits_task
from tests.terminal import Cloudedge
from tests.waiting import until


def run(cloudedge: Cloudedge, tmp_path: Path, data: Path, task: Any = None, *options: object) -> tuple[int, str]:
    task_file = tmp_path / "task.json"
    task_file.write_bytes((task or digits_task("mine")).to_json())
    ended = cloudedge("run", task_file, "--data", data, "--home", tmp_path / "home", *options)
    assert ended.out == ""
    return ended.code, ended.err


def test_a_data_folder_that_is_not_there(cloudedge: Cloudedge, tmp_path: Path) -> None:
    code, message = run(cloudedge, tmp_path, tmp_path / "nowhere")

    assert code == 2
    assert "has no folder 'cloud': put the cloud's samples into" in message


def test_a_task_about_other_samples_than_the_demos_without_a_folder_of_them(cloudedge: Cloudedge, tmp_path: Path) -> None:
    task = digits_task("mine")
    other = task.model_copy(update={"data": task.data.model_copy(update={"storage": "json-lines"})})
    task_file = tmp_path / "task.json"
    task_file.write_bytes(other.to_json())

    ended = cloudedge("run", task_file, "--home", tmp_path / "home")

    assert ended.code == 2
    assert ended.err == (
        f"{task_file} is about other samples than the demo's digits: name the folder that has them with --data FOLDER.\n"
    )
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("name", ["{{$.pipeline_root}}", "kfp-workspace"])
def test_a_path_that_kfp_would_replace(cloudedge: Cloudedge, tmp_path: Path, digits: Path, name: str) -> None:
    data = tmp_path / name / "data"
    data.mkdir(parents=True)
    (data / "cloud").symlink_to(digits / "cloud")
    (data / "edges").symlink_to(digits / "edges")

    code, message = run(cloudedge, tmp_path, data)

    assert code == 2
    assert message.startswith("A path cannot be carried by a pipeline's parameters:\n  - --data: found ")
    assert message.count("leave out") == 1
    assert not (tmp_path / "home" / "store").exists()


def test_a_data_folder_without_edges(cloudedge: Cloudedge, tmp_path: Path, digits: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "cloud").symlink_to(digits / "cloud")

    code, message = run(cloudedge, tmp_path, tmp_path / "data", digits_task("mine", edges=()))

    assert code == 2
    assert "edges has no folder: make one per edge with its samples, or set collaborate to false" in message


def test_a_folder_that_has_no_name_for_an_edge(cloudedge: Cloudedge, tmp_path: Path, digits: Path) -> None:
    (tmp_path / "data" / "edges" / "Hall 1").mkdir(parents=True)
    (tmp_path / "data" / "cloud").symlink_to(digits / "cloud")

    code, message = run(cloudedge, tmp_path, tmp_path / "data", digits_task("mine", edges=()))

    assert code == 2
    assert "edges/Hall 1 has no name for an edge. Rename it: use lower-case letters" in message


@pytest.mark.parametrize("name", [".DS_Store", "__MACOSX", "lost+found", "@eaDir", "$RECYCLE.BIN", "System Volume Information"])
def test_a_folder_of_the_operating_system_is_no_edge(name: str, tmp_path: Path, digits: Path) -> None:
    (tmp_path / "edges" / name).mkdir(parents=True)
    (tmp_path / "cloud").symlink_to(digits / "cloud")
    (tmp_path / "edges" / "hall-1").symlink_to(digits / "edges" / EDGES[0])

    assert list(Data(tmp_path).edges()) == ["hall-1"]


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("edges/loose.npz", r"edges/loose.npz belongs to no edge. Put it into the folder of one."),
        ("test/loose.npz", r"test/loose.npz lies beside folders, each of which is an environment"),
        ("test/all/digits.npz", r"test/all has the name that the scores on all test data are kept under."),
        (os.fsdecode(b"edges/S\xfcd/1.npz"), r"edges/S\xfcd has no name for an edge."),
        (os.fsdecode(b"test/S\xfcd/1.npz"), r"test/S\xfcd has a name that is not UTF-8: rename it."),
        (os.fsdecode(b"cloud/S\xfcd.npz"), r"cloud/S\xfcd.npz has a name that is not UTF-8: rename it."),
    ],
)
def test_what_would_be_used_nowhere_or_cannot_be_read(
    cloudedge: Cloudedge, tmp_path: Path, digits: Path, place: str, said: str
) -> None:
    shutil.copytree(digits, tmp_path / "data")
    (tmp_path / "data" / place).parent.mkdir(exist_ok=True)
    shutil.copy(next((digits / "cloud").iterdir()), tmp_path / "data" / place)

    code, message = run(cloudedge, tmp_path, tmp_path / "data", digits_task("mine", edges=()))

    assert code == 2
    assert said in message
    assert not list((tmp_path / "home").glob("store/runs/*"))


def test_a_data_folder_whose_name_is_not_utf8(cloudedge: Cloudedge, tmp_path: Path, digits: Path) -> None:
    data = tmp_path / os.fsdecode(b"S\xfcd")
    data.symlink_to(digits)

    code, message = run(cloudedge, tmp_path, data)

    assert code == 2
    assert r"S\xfcd has a name that is not UTF-8, or lies in a folder that has. Rename it." in message


def test_a_runner_that_cannot_start_says_why(tmp_path: Path) -> None:
    runners = Runners()
    runners.have({"hall-1": Program([sys.executable, "-c", "print('no room here'); raise SystemExit(5)"])}, tmp_path)

    with pytest.raises(WorkFailed, match=r"hall-1 ended 20 times, the last time with code 5; .*last line is: no room here"):
        until(runners.keep_alive)


def test_beside_a_runner_of_ones_own_it_says_so_soon(cloudedge: Cloudedge, tmp_path: Path, digits: Path) -> None:
    state = tmp_path / "home" / "edges" / "edge-2"
    with locked(state / "runner.lock"):
        code, message = run(cloudedge, tmp_path, digits)

    assert code == 4
    assert f"The runner edge-2 cannot be started: Another runner works in {state}. End it first" in message


def test_an_edge_without_samples(cloudedge: Cloudedge, tmp_path: Path, digits: Path) -> None:
    code, message = run(cloudedge, tmp_path, digits, digits_task("mine", edges=("edge-1", "edge-9")))

    assert code == 2
    assert message == (
        f"The task names the edges edge-9, but {digits}/edges has no such folders, only: {', '.join(EDGES)}. "
        "Make them, or correct collaboration.edges in the task.\n"
    )


@pytest.mark.parametrize(
    ("named", "edges", "message"),
    [
        ((), 4, "--edges is 4, but there are samples for 3 edges in"),
        (EDGES, 2, "--edges is 2, but the task names 3 edges: leave --edges out."),
        (EDGES, 0, "--edges"),
        (EDGES, "two", "--edges"),
    ],
)
def test_a_wrong_number_of_edges(
    cloudedge: Cloudedge, tmp_path: Path, digits: Path, named: tuple[str, ...], edges: object, message: str
) -> None:
    code, said = run(cloudedge, tmp_path, digits, digits_task("mine", edges=named), "--edges", edges)

    assert code == 2
    assert message in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nonsense"], "There is no system 'nonsense'; there are: collaborative-training, "),
        (["inspection-training"], "inspection-training has no demo: run a task of yours, with cloudedge run TASK."),
        (["inspection", "--edges", 2], "The demo inspection has edges of its own: leave --edges out."),
        (["collaborative-training", "--edges", 21], "The demo's digits are enough for 1 to 20 edges, not 21."),
    ],
)
def test_a_demo_that_there_is_none_of(cloudedge: Cloudedge, tmp_path: Path, words: list[object], message: str) -> None:
    ended = cloudedge("demo", *words, "--home", tmp_path / "home")

    assert ended.code in (2, 3)
    assert message in ended.err


def test_an_id_that_another_task_has_and_that_task_stays_as_it_is(home: Cloud, cloudedge: Cloudedge, digits: Path) -> None:
    before = home.open_orders()
    other = home.task.model_copy(update={"seed": 77})
    task_file = home.root / "other.json"
    task_file.write_bytes(other.to_json())

    ended = cloudedge("run", task_file, "--data", digits, "--home", home.root)

    assert ended.code == 4
    assert "The id 'digits' belongs to a run of another task. Give the task another id" in ended.err
    assert home.run.task() == home.task
    assert home.open_orders() == before


def test_a_second_engine_in_the_same_home(cloudedge: Cloudedge, tmp_path: Path, digits: Path) -> None:
    with Home(tmp_path / "home").alone():
        code, message = run(cloudedge, tmp_path, digits)

    assert code == 4
    assert "is running a task in" in message
    assert "wait for it, end it with Ctrl-C, or use another --home" in message


def test_a_home_that_cannot_be_made(cloudedge: Cloudedge, tmp_path: Path, task_file: Path, digits: Path) -> None:
    ended = cloudedge("run", task_file, "--data", digits, "--home", task_file / "home")

    assert ended.code == 5
    assert ended.err.startswith("Cannot write ")


def test_an_edge_folder_whose_name_is_none(cloudedge: Cloudedge, tmp_path: Path, digits: Path) -> None:
    data = tmp_path / "data"
    (data / "edges" / "Halle 3").mkdir(parents=True)
    (data / "cloud").symlink_to(digits / "cloud")

    code, message = run(cloudedge, tmp_path, data, digits_task("mine", edges=()))

    assert code == 2
    assert "Halle 3" in message
    assert "lower-case letters, digits and inner hyphens" in message


def test_a_fusion_rule_that_there_is_none_of(cloudedge: Cloudedge, tmp_path: Path, digits: Path) -> None:
    code, message = run(cloudedge, tmp_path, digits, digits_task("mine", fusion=Fusion(rule="avarage")))

    assert code == 2
    assert message.startswith("There is no fusion rule 'avarage'")


def with_test_data(tmp_path: Path, digits: Path, **arrays: Any) -> Path:
    """The samples, with these in place of the clean ones to test on."""
    data = tmp_path / "data"
    shutil.copytree(digits, data)
    numpy.savez(data / "test" / "clean" / "digits.npz", **arrays)
    return data


def test_test_data_that_does_not_fit_is_known_before_anything_is_trained(
    cloudedge: Cloudedge, tmp_path: Path, digits: Path
) -> None:
    data = with_test_data(tmp_path, digits, picture=numpy.zeros((2, 1, 8, 8), "uint8"), label=numpy.zeros(2, int))

    code, message = run(cloudedge, tmp_path, data)

    assert code == 2
    assert f"{data}/test/clean/digits.npz" in message
    assert "image" in message
    assert not (tmp_path / "home" / "store").exists()


def last_label_wrong() -> dict[str, Any]:
    return {"image": numpy.zeros((3000, 1, 8, 8), "uint8"), "label": numpy.array([0] * 2999 + [77])}


def test_all_of_the_test_data_is_read_before_anything_is_trained(cloudedge: Cloudedge, tmp_path: Path, digits: Path) -> None:
    code, message = run(cloudedge, tmp_path, with_test_data(tmp_path, digits, **last_label_wrong()))

    assert code == 2
    assert f"{tmp_path}/data/test/clean/digits.npz, sample 2999, label 'label': found 77" in message
    assert not (tmp_path / "home" / "store").exists()


def test_test_data_that_was_spoiled_since_a_run_began_is_known_when_it_goes_on(
    home: Cloud, cloudedge: Cloudedge, tmp_path: Path, digits: Path
) -> None:
    data = with_test_data(tmp_path, digits, **last_label_wrong())
    task_file = tmp_path / "task.json"
    task_file.write_bytes(home.task.to_json())

    ended = cloudedge("run", task_file, "--data", data, "--home", home.root)

    assert ended.code == 2
    assert "sample 2999, label 'label': found 77" in ended.err


def test_test_data_without_a_sample_is_known_before_anything_is_trained(
    cloudedge: Cloudedge, tmp_path: Path, digits: Path
) -> None:
    data = with_test_data(tmp_path, digits, image=numpy.zeros((0, 1, 8, 8), "uint8"), label=numpy.zeros(0, int))

    code, message = run(cloudedge, tmp_path, data)

    assert (code, message) == (2, f"{data}/test/clean has files but no sample: put some there.\n")


def test_a_rule_that_has_no_weight_for_an_edge(cloudedge: Cloudedge, tmp_path: Path, digits: Path) -> None:
    fusion = Fusion(rule="given", parameters={"weights": {"edge-1": 1, "edge-2": 2}})

    code, message = run(cloudedge, tmp_path, digits, digits_task("mine", fusion=fusion, edges=()))

    assert code == 2
    assert message == "The rule 'given' has no weight for edge-3: add it to fusion.parameters.weights.\n"


@pytest.mark.parametrize("wrong", [{"edges": ("edge-9",)}, {"fusion": Fusion(rule="avarage")}])
def test_a_refused_run_leaves_no_run_behind(cloudedge: Cloudedge, tmp_path: Path, digits: Path, wrong: dict[str, Any]) -> None:
    run(cloudedge, tmp_path, digits, digits_task("mine", **wrong))

    assert not (tmp_path / "home" / "store").exists()
    assert json.loads((tmp_path / "task.json").read_text())["id"] == "mine"


def test_a_disk_without_room_is_named(tmp_path: Path) -> None:
    require_space(tmp_path)
    with pytest.raises(StoreFailed, match=f"disk that {tmp_path} is on is full: free some space"):
        require_space(tmp_path, least_bytes=2**62)


def test_a_program_that_cannot_be_started_is_named_and_not_its_log(tmp_path: Path) -> None:
    with pytest.raises(WorkFailed, match=f"^Cannot start {tmp_path}/none: No such file or directory"):
        Runners().have({"hall-1": Program([f"{tmp_path}/none"])}, tmp_path)


def test_a_test_set_that_cannot_judge_is_refused_before_a_line_trains(cloudedge: Cloudedge, tmp_path: Path) -> None:
    (tmp_path / "data" / "edges" / "line-1").mkdir(parents=True)
    (tmp_path / "data" / "test" / "brick" / "normal").mkdir(parents=True)
    task = InspectionTrainingTask(name="Brick", id="brick", line="line-1", training=InspectionTraining(brand="brick"))

    code, message = run(cloudedge, tmp_path, tmp_path / "data", task)

    assert code == 2
    assert "has no images of parts that are in order" in message
    assert not (tmp_path / "home" / "store" / "runs" / "brick").exists()
