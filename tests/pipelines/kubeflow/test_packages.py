"""The compiled packages: equal to their sources, the same everywhere, and complete for the Kubeflow UI."""

import itertools
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import annotated_types
import pytest
import yaml

from cloud.entrypoints.form import form_of
from cloudedge.documents import Collaboration, TrainingTask
from cloudedge.errors import InvalidInput
from pipelines.collaborative_training.system import SYSTEM
from pipelines.kubeflow.compile import FOLDER, package, package_of
from tests.digits import digits_task

FORM = form_of(TrainingTask)
PIPELINES = SYSTEM.packages()


@cache
def kept(name: str) -> bytes:
    """A package that is kept in the repository, compiled once."""
    return package(PIPELINES[name], FORM)


def tasks(content: bytes) -> dict[str, Any]:
    """The package's tasks by name, in the order of their dependencies."""
    found: dict[str, Any] = next(yaml.safe_load_all(content))["root"]["dag"]["tasks"]
    ordered: dict[str, Any] = {}
    while len(ordered) < len(found):
        for name, task in found.items():
            if name not in ordered and set(task.get("dependentTasks", ())) <= set(ordered):
                ordered[name] = task
    return ordered


def form(content: bytes) -> dict[str, Any]:
    """The package's parameters by name."""
    return dict(next(yaml.safe_load_all(content))["root"]["inputDefinitions"]["parameters"])


@pytest.mark.parametrize("name", PIPELINES)
def test_the_package_in_the_repository_is_its_sources(name: str) -> None:
    assert (FOLDER / "collaborative_training" / f"{name}.yaml").read_bytes() == kept(name), (
        "run: python -m pipelines.kubeflow.compile"
    )


def test_all_that_a_form_asks_for_is_explained_on_it() -> None:
    packages = sorted(FOLDER.glob("*/*.yaml"))

    assert {path.stem for path in packages} >= {*PIPELINES, "inspection_training", "inspection_deployment", "automl_meta"}
    silent = {
        path.stem: [name for name, asked in form(path.read_bytes()).items() if not asked.get("description")]
        for path in packages
    }
    assert not any(silent.values()), silent


@pytest.mark.parametrize("seed", ["1", "2"])
def test_packages_are_the_same_bytes_in_every_process(seed: str) -> None:
    command = [sys.executable, "-m", "pipelines.kubeflow.compile", "--check"]

    subprocess.run(command, env={**os.environ, "PYTHONHASHSEED": seed}, check=True)


@pytest.mark.parametrize("name", PIPELINES)
def test_no_task_is_answered_from_the_cache_and_each_has_a_name_for_people(name: str) -> None:
    for task in tasks(kept(name)).values():
        assert task["cachingOptions"] == {}  # kfp leaves enableCache out where it is off.
        assert task["taskInfo"]["name"][0].isupper()


def lives(content: bytes) -> dict[str, int]:
    """Longest life of each task's pod in seconds, by the name that people see."""
    spec, platform = yaml.safe_load_all(content)
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    return {
        task["taskInfo"]["name"]: int(executors[f"exec-{name}"]["activeDeadlineSeconds"])
        for name, task in spec["root"]["dag"]["tasks"].items()
    }


def test_every_pod_ends_some_day_but_no_wait_before_its_rounds_deadline() -> None:
    (latest,) = [
        bound.le
        for bound in Collaboration.model_fields["round_deadline_seconds"].metadata
        if isinstance(bound, annotated_types.Le)
    ]

    flat, compact = lives(kept("collaborative_training")), lives(kept("collaborative_training_compact"))

    assert min(life for name, life in flat.items() if name.endswith("wait")) > int(str(latest))
    assert compact["All rounds"] > 10 * int(str(latest))
    assert min(flat.values()) == min(compact.values()) == 6 * 3600


def test_the_flat_pipeline_is_one_chain_that_reads_from_top_to_bottom() -> None:
    chain = tasks(kept("collaborative_training"))

    assert [task["taskInfo"]["name"] for task in chain.values()] == [
        "Pretrain",
        *(f"Round {number}: {step}" for number in (1, 2, 3) for step in ("dispatch", "wait", "fuse")),
        "Evaluate",
        "Register",
        "Report",
    ]
    assert_each_depends_on_the_one_before_it_alone(chain)


def test_the_compact_pipeline_has_all_rounds_in_one_task() -> None:
    chain = tasks(kept("collaborative_training_compact"))

    assert [task["taskInfo"]["name"] for task in chain.values()] == [
        "Pretrain",
        "All rounds",
        "Evaluate",
        "Register",
        "Report",
    ]
    assert_each_depends_on_the_one_before_it_alone(chain)


def assert_each_depends_on_the_one_before_it_alone(chain: dict[str, Any]) -> None:
    """Also by what it takes, as Kubeflow draws an arrow for that too."""
    for before, after in itertools.pairwise(chain):
        assert chain[after]["dependentTasks"] == [before]
        inputs = chain[after]["inputs"]
        taken = [place for kind in inputs.values() for place in kind.values()]
        producers = {one["producerTask"] for place in taken for key, one in place.items() if key.startswith("taskOutput")}
        assert producers == {before}


@pytest.mark.parametrize("name", PIPELINES)
def test_no_task_has_kubeflow_fetch_what_its_step_reads_from_the_store(name: str) -> None:
    assert not [task for task in tasks(kept(name)).values() if "artifacts" in task.get("inputs", {})]


@pytest.mark.parametrize("name", PIPELINES)
def test_no_two_components_have_artifacts_that_are_called_the_same(name: str) -> None:
    components: dict[str, Any] = next(yaml.safe_load_all(kept(name)))["components"]
    made = {
        (artifact, re.sub(r"-\d+$", "", component))
        for component, spec in components.items()
        for artifact in spec.get("outputDefinitions", {}).get("artifacts", {})
    }

    names = [artifact for artifact, _ in made]
    assert len(names) == len(set(names))
    assert not {"page", "metrics"} & set(names)


@pytest.mark.parametrize("name", PIPELINES)
def test_the_form_is_the_whole_task_with_defaults_and_a_new_run_each_time(name: str) -> None:
    parameters = form(kept(name))

    assert set(parameters) == {*FORM.fields, "cloud_data", "test_data"}
    assert [name for name, parameter in parameters.items() if "defaultValue" not in parameter] == ["cloud_data"]
    assert not parameters["cloud_data"].get("isOptional")
    assert parameters["task_id"]["defaultValue"] == parameters["test_data"]["defaultValue"] == ""


@pytest.mark.parametrize("name", PIPELINES)
def test_kubeflows_form_draws_a_list_of_what_is_one_of_few_words_and_leaves_own_names_free(name: str) -> None:
    drawn = {parameter: spec["literals"] for parameter, spec in form(kept(name)).items() if "literals" in spec}

    assert drawn == {
        "collaborate": [True, False],
        **{f"{where}_loss": ["cross-entropy", "label-smoothing", "focal", "mse"] for where in ("edge", "pretraining")},
        **{f"{where}_optimizer": ["sgd", "momentum", "adam", "adamw"] for where in ("edge", "pretraining")},
    }


def test_a_task_that_is_larger_than_an_argument_of_a_pod_is_refused() -> None:
    task = digits_task()

    def with_classes(number: int) -> TrainingTask:
        classes = tuple(f"Klasse {index:04} für die Prüfung" for index in range(number))
        return task.model_copy(update={"data": task.data.model_copy(update={"classes": classes})})

    package_of(with_classes(2500), compact=True)
    with pytest.raises(
        InvalidInput, match=r"The task has 1\d{5} bytes as a pipeline's parameters, and .* take 100000: shorten it"
    ):
        package_of(with_classes(3000), compact=True)


@pytest.mark.parametrize(("rounds", "compact"), [(2, False), (2, True), (0, False)])
def test_a_package_whose_form_is_the_task_as_one_document_is_the_same_pipeline_otherwise(rounds: int, compact: bool) -> None:
    task = digits_task("mine", rounds=max(rounds, 1)).model_copy(update={"collaborate": rounds > 0})

    content = package_of(task, compact, shape="task", lists=True)

    fields = form(content)
    assert {name: field.get("defaultValue") for name, field in fields.items()} == {
        "cloud_data": None,
        "task": FORM.document_of(task),
        "task_id": "",
        "test_data": "",
    }
    assert fields["task"]["parameterType"] == "STRUCT"
    first, *others = tasks(content).values()
    former, *same = tasks(package_of(task, compact)).values()
    assert first["taskInfo"] == former["taskInfo"]
    assert [each["taskInfo"] for each in others] == [each["taskInfo"] for each in same]
    assert_each_depends_on_the_one_before_it_alone(tasks(content))
    assert lives(content)["Pretrain"] == lives(package_of(task, compact))["Pretrain"]


def test_a_form_that_a_program_fills_has_no_lists_so_that_an_older_kubeflow_takes_it() -> None:
    assert not [spec for spec in form(package_of(digits_task())).values() if "literals" in spec]


def test_a_tasks_package_has_its_values_as_defaults_but_for_the_id_and_still_asks_for_the_data() -> None:
    task = digits_task("mine", rounds=2)

    found = {name: parameter.get("defaultValue") for name, parameter in form(package_of(task)).items()}

    assert found == {**FORM.values_of(task), "task_id": "", "cloud_data": None, "test_data": ""}


@pytest.mark.parametrize(
    ("task", "count"),
    [
        (digits_task(rounds=1), 7),
        (digits_task(rounds=3), 13),
        (digits_task(rounds=4), 5),
        (digits_task(rounds=100), 5),
        (digits_task(rounds=3).model_copy(update={"collaborate": False}), 4),
    ],
)
def test_few_rounds_are_flat_many_compact_and_none_without_collaboration(task: TrainingTask, count: int) -> None:
    assert len(tasks(package_of(task))) == count


def test_the_flat_pipeline_knows_how_many_rounds_it_has_tasks_for() -> None:
    for task, most in ((digits_task(rounds=2), 2), (digits_task(rounds=50), 100_000)):
        inputs = tasks(package_of(task))["pretrain"]["inputs"]["parameters"]
        assert inputs["most_rounds"]["runtimeValue"]["constant"] == most


def test_check_says_which_package_is_out_of_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    from pipelines.kubeflow import compile as compiling

    monkeypatch.setattr(compiling, "FOLDER", tmp_path)
    (tmp_path / "collaborative_training").mkdir()
    (tmp_path / "collaborative_training" / "collaborative_training.yaml").write_bytes(kept("collaborative_training"))
    monkeypatch.setattr(sys, "argv", ["compile", "--check"])

    assert compiling.main() == 1
    assert (
        "Out of date: collaborative_training_compact.yaml, inspection_training.yaml, inspection_deployment.yaml, "
        "edge_automl.yaml, automl_meta.yaml. "
        "Run: python -m pipelines.kubeflow.compile" in capsys.readouterr().err
    )
    assert not (tmp_path / "collaborative_training" / "collaborative_training_compact.yaml").exists()
