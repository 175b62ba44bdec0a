"""A model in MLflow's registry: its file itself, safetensors or ONNX, with its signature and where it comes from.

Nothing is pickled.
"""

import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloud.keys import run_key
from cloud.stores.recorded import recorded
from cloud.tracking.mlflow_records import Registered, Registration
from cloud.tracking.runs import RUN_TAG, Runs
from cloudedge.documents.base import canonical_json
from cloudedge.documents.deployable import Tensor
from cloudedge.errors import NotFound
from cloudedge.store import Store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.models import ModelSignature

MODEL_FILE = "model.safetensors"
ONNX_FILE = "model.onnx"
DEPLOYABLE_FILE = "deployable.json"
SHA256_TAG = "cloudedge.sha256"

_MOST_EDGES = 20
"""Edges named in a tag, which MLflow bounds; all of them are in `lineage.json`."""

_ABOUT = "Each version is the model of one run that passed its gate; `champion` is the newest of them."

_DTYPES = {"FP16": "float16", "FP32": "float32", "FP64": "float64"}
"""Of the Open Inference Protocol's types those that numpy does not call by the same name in lower case."""


def register(client: "MlflowClient", store: Store, run: str, runs: Runs, registration: Registration) -> Registered:
    """Make a file a version of a registered model and point aliases to it. A run registers a file once, however often asked.

    The version's artifacts are `model.safetensors`, or `model.onnx` with its `deployable.json`, the run's `task.json`,
    `lineage.json` and `MLmodel` with the signature.

    Args:
        client: Connection.
        store: Where the file is.
        run: Id of the run.
        runs: The run in MLflow.
        registration: What is registered.

    Raises:
        NotFound: there is no such file in the store.
        InvalidModel: it is another than was recorded.
    """
    import mlflow

    # On a database MLflow looks the logged model up through the process's own address instead of the client's.
    mlflow.set_tracking_uri(client.tracking_uri)
    version = _found_version(client, run, registration)
    if version is None:
        with recorded(store, registration.model_key, registration.sha256) as file:
            model = _logged_model(client, store, run, runs, registration, file)
        version = client.create_model_version(
            registration.registered_model,
            f"models:/{model.model_id}",
            run_id=runs.parent,
            tags=_tags(run, registration),
            description=registration.description,
            model_id=model.model_id,
            await_creation_for=0,  # Minutes in which nothing would be done with it.
        )
    held = client.get_registered_model(registration.registered_model).aliases
    # A registration that is told again, late, must not take an alias back from a newer version.
    aliases = tuple(alias for alias in registration.aliases if int(held.get(alias, 0)) <= int(version.version))
    for alias in aliases:
        client.set_registered_model_alias(registration.registered_model, alias, str(version.version))
    return Registered(
        registered_model=registration.registered_model,
        version=int(version.version),
        aliases=aliases,
        sha256=registration.sha256,
        model_id=str(version.source).removeprefix("models:/"),
        run_id=runs.parent,
    )


def _found_version(client: "MlflowClient", run: str, registration: Registration) -> "ModelVersion | None":
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(registration.registered_model, description=_ABOUT)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    found = client.search_model_versions(
        f"name = '{registration.registered_model}' and tags.`{SHA256_TAG}` = '{registration.sha256}'"
        f" and tags.`{RUN_TAG}` = '{run}'",
        max_results=1,
    )
    return found[0] if found else None


def _logged_model(
    client: "MlflowClient", store: Store, run: str, runs: Runs, registration: Registration, file: Path
) -> "LoggedModel":
    from mlflow.entities import LoggedModelOutput

    # One that an interrupted registration left behind is completed.
    mine = f"source_run_id = '{runs.parent}' and tags.`{SHA256_TAG}` = '{registration.sha256}'"
    found = client.search_logged_models([runs.experiment], mine, max_results=1)
    if found:
        model = found[0]
    else:
        model = client.create_logged_model(
            runs.experiment,
            name=registration.registered_model,
            source_run_id=runs.parent,
            tags=_tags(run, registration),
            model_type="onnx" if registration.deployable else "safetensors",
        )
        client.log_outputs(runs.parent, [LoggedModelOutput(model.model_id, step=0)])
    with tempfile.TemporaryDirectory(prefix="cloudedge-model-") as folder:
        _write_artifacts(Path(folder), store, run, registration, model)
        # Uploading reads through the link; a large file is not copied before.
        (Path(folder) / (ONNX_FILE if registration.deployable else MODEL_FILE)).symlink_to(file)
        client.log_model_artifacts(model.model_id, folder)
    return client.finalize_logged_model(model.model_id, "READY")


def _write_artifacts(folder: Path, store: Store, run: str, registration: Registration, model: "LoggedModel") -> None:
    from mlflow.models import Model

    with suppress(NotFound):
        (folder / "task.json").write_bytes(store.get(run_key(run, "task.json"), 16 * 1024 * 1024))
    lineage = {"run": run, **registration.model_dump(mode="json", include={"sha256", "ancestors"})}
    (folder / "lineage.json").write_bytes(canonical_json(lineage))
    flavors: dict[str, Any] = {"safetensors": {"data": MODEL_FILE, "sha256": registration.sha256}}
    if registration.deployable:
        (folder / DEPLOYABLE_FILE).write_bytes(registration.deployable.to_json())
        flavors = {"onnx": {"data": ONNX_FILE, "sha256": registration.sha256}}
    Model(
        run_id=model.source_run_id,
        model_id=model.model_id,
        flavors=flavors,
        signature=_signature(registration),
        metadata={"classes": list(registration.classes)},
    ).save(str(folder / "MLmodel"))


def _signature(registration: Registration) -> "ModelSignature":
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    def specs(tensors: Iterable[Tensor]) -> Schema:
        types = ((_DTYPES.get(tensor.datatype, tensor.datatype.lower()), tensor) for tensor in tensors)
        return Schema([TensorSpec(np.dtype(name), tensor.shape, tensor.name) for name, tensor in types])

    if registration.deployable:
        return ModelSignature(specs(registration.deployable.inputs), specs(registration.deployable.outputs))
    inputs = TensorSpec(np.dtype("float32"), (-1, *registration.input_shape), "inputs")
    outputs = TensorSpec(np.dtype("float32"), (-1, len(registration.classes)), "outputs")
    return ModelSignature(Schema([inputs]), Schema([outputs]))


def _tags(run: str, registration: Registration) -> dict[str, str]:
    edges = sorted(ancestor.edge for ancestor in registration.ancestors if ancestor.edge is not None)
    named = (
        ", ".join(edges)
        if len(edges) <= _MOST_EDGES
        else f"{', '.join(edges[:_MOST_EDGES])} and {len(edges) - _MOST_EDGES} more"
    )
    return {
        **registration.tags,
        RUN_TAG: run,
        SHA256_TAG: registration.sha256,
        "cloudedge.edges": named,
    }
