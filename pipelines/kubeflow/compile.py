"""Compiling pipelines to what Kubeflow takes; the packages kept in the repository are checked against their source.

python -m pipelines.kubeflow.compile            write them
python -m pipelines.kubeflow.compile --check    fail if one is out of date
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml
from kfp import compiler

from cloud.gpu import CLOUD_GPU, checked_gpu
from cloud.image import CLOUD_IMAGE, checked_image
from cloudedge.documents import Task
from cloudedge.errors import InvalidInput
from cloudedge.files import atomic_write
from components.collaborative_training.pretrain.parameters import choices, document_of, parameters_of
from pipelines.collaborative_training.compact import all_rounds_in_one, collaborative_training_compact
from pipelines.collaborative_training.flat import collaborative_training, with_rounds
from pipelines.collaborative_training.form import Form

FOLDER = Path(__file__).parents[1] / "collaborative_training"
MOST_ROUNDS_IN_PODS = 3
"""Up to this many rounds Kubeflow gets a pipeline task for each step; beyond, one with all rounds, as each costs two pods."""

_MOST_BYTES = 100_000
"""All parameters are one argument of a pod's program, for which Linux has 128 KiB; some is for what stands beside them."""


def package(pipeline: Any, parameters: dict[str, Any] | None = None, *, lists: bool = True) -> bytes:
    """The pipeline's package as YAML, with a task's values as the form's defaults.

    Args:
        pipeline: A pipeline of this room.
        parameters: Defaults by name; the pipeline's own if none.
        lists: Whether Kubeflow's form draws a list of what is one of few words. Its API server then takes nothing else, and one
            before 2.16 does not take the package.

    Raises:
        InvalidInput: CLOUDEDGE_IMAGE is no image's name, or CLOUDEDGE_GPU no GPU's.
    """
    checked_image(CLOUD_IMAGE, "pipeline steps, CLOUDEDGE_IMAGE")
    if CLOUD_GPU:
        checked_gpu(CLOUD_GPU, "pretraining, CLOUDEDGE_GPU")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "package.yaml"
        compiler.Compiler().compile(pipeline, str(path), pipeline_parameters=parameters)
        documents = list(yaml.safe_load_all(path.read_bytes()))
        fields = documents[0]["root"]["inputDefinitions"]["parameters"]
        for name, values in choices().items():
            if lists and name in fields:
                fields[name]["literals"] = list(values)  # kfp's compiler knows no such thing.
        # kfp writes dictionaries in an order that changes from run to run; sorted, the same source gives the same bytes.
        return yaml.safe_dump_all(documents, sort_keys=True, allow_unicode=True).encode()


def package_of(task: Task, compact: bool | None = None, *, form: Form = "fields", lists: bool = False) -> bytes:
    """The package that runs a task.

    Args:
        task: Its values become the form's defaults; but for the id, so that each run that is started of it is its own.
        compact: Whether all rounds are one task; none: beyond three rounds.
        form: Whether the form has a field for each of the task's, or one for the task.
        lists: As for `package`; a form that a program fills needs none.

    Raises:
        InvalidInput: the task is larger than an argument of Kubeflow's pods may be, or holds what these would replace.
    """
    size = len(json.dumps(parameters_of(task), ensure_ascii=False).encode())
    if size > _MOST_BYTES:
        raise InvalidInput(
            f"The task has {size} bytes as a pipeline's parameters, and Kubeflow's pods take {_MOST_BYTES}: shorten it where "
            "it is long, in data.classes for example."
        )
    rounds = task.collaboration.rounds if task.collaborate else 0
    if compact is None:
        compact = rounds > MOST_ROUNDS_IN_PODS
    pipeline = all_rounds_in_one(form) if compact else with_rounds(rounds, form)
    values = {"task": document_of(task)} if form == "task" else parameters_of(task)
    return package(pipeline, {**values, "task_id": ""}, lists=lists)


def main() -> int:
    """Write or check the packages in the repository."""
    parser = argparse.ArgumentParser(description="Compile the pipelines beside their sources.")
    parser.add_argument("--check", action="store_true", help="fail if a package is out of date, and change nothing")
    check = parser.parse_args().check
    if {"CLOUDEDGE_IMAGE", "CLOUDEDGE_GPU"} & set(os.environ):
        parser.error("CLOUDEDGE_IMAGE and CLOUDEDGE_GPU are a cluster's own, and no part of these packages: unset them")
    stale = []
    for name, pipeline in (
        ("collaborative_training", collaborative_training),
        ("collaborative_training_compact", collaborative_training_compact),
    ):
        path = FOLDER / f"{name}.yaml"
        content = package(pipeline)
        if path.exists() and path.read_bytes() == content:
            continue
        stale.append(path.name)
        if not check:
            atomic_write(path, content)
    if check and stale:
        print(f"Out of date: {', '.join(stale)}. Run: python -m pipelines.kubeflow.compile", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
