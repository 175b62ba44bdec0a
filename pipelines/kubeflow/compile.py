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

from cloud.entrypoints.form import Form
from cloud.gpu import CLOUD_GPU, checked_gpu
from cloud.image import CLOUD_IMAGE, checked_image
from cloudedge.documents import Task
from cloudedge.documents.tasks import SYSTEMS
from cloudedge.errors import InvalidInput
from cloudedge.files import atomic_write
from pipelines.dag import FormShape
from pipelines.systems import system_named, system_of

FOLDER = Path(__file__).parents[1]

_MOST_BYTES = 100_000
"""All parameters are one argument of a pod's program, for which Linux has 128 KiB; some is for what stands beside them."""


def package(pipeline: Any, form: Form[Any], parameters: dict[str, Any] | None = None, *, lists: bool = True) -> bytes:
    """The pipeline's package as YAML, with a task's values as the form's defaults.

    Args:
        pipeline: A pipeline.
        form: The form of its tasks.
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
        for name, field in form.fields.items():
            if lists and field.choices and name in fields:
                fields[name]["literals"] = list(field.choices)  # kfp's compiler knows no such thing.
        # kfp writes dictionaries in an order that changes from run to run; sorted, the same source gives the same bytes.
        return yaml.safe_dump_all(documents, sort_keys=True, allow_unicode=True).encode()


def package_of(task: Task, compact: bool | None = None, *, shape: FormShape = "fields", lists: bool = False) -> bytes:
    """The package that runs a task.

    Args:
        task: Its values become the form's defaults; but for the id, so that each run that is started of it is its own.
        compact: Whether the pipeline has as few tasks as it can; none: as suits Kubeflow.
        shape: Of its form.
        lists: As for `package`; a form that a program fills needs none.

    Raises:
        InvalidInput: the task is larger than an argument of Kubeflow's pods may be, or holds what these would replace.
    """
    system = system_of(task)
    values = system.form.values_of(task)
    size = len(json.dumps(values, ensure_ascii=False).encode())
    if size > _MOST_BYTES:
        raise InvalidInput(
            f"The task has {size} bytes as a pipeline's parameters, and Kubeflow's pods take {_MOST_BYTES}: shorten it where "
            "it is long, in data.classes for example."
        )
    if shape == "task":
        values = {"task": system.form.document_of(task)}
    pipeline = system.pipeline(task, "kubeflow", compact, shape)
    return package(pipeline, system.form, {**values, "task_id": ""}, lists=lists)


def main() -> int:
    """Write or check the packages in the repository."""
    parser = argparse.ArgumentParser(description="Compile the pipelines beside their sources.")
    parser.add_argument("--check", action="store_true", help="fail if a package is out of date, and change nothing")
    check = parser.parse_args().check
    if {"CLOUDEDGE_IMAGE", "CLOUDEDGE_GPU"} & set(os.environ):
        parser.error("CLOUDEDGE_IMAGE and CLOUDEDGE_GPU are a cluster's own, and no part of these packages: unset them")
    stale = []
    kept = [
        (folder, system.form, *each)
        for name, folder in SYSTEMS.items()
        for system in [system_named(name)]
        for each in system.packages().items()
    ]
    for folder, form, name, pipeline in kept:
        path = FOLDER / folder / f"{name}.yaml"
        content = package(pipeline, form)
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
