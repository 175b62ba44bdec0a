"""What the Open Inference Protocol asks of models, however it is carried."""

import ipaddress
from collections.abc import Mapping, Sequence
from concurrent.futures import CancelledError
from typing import Any

from cloudedge import __version__
from cloudedge.errors import Cancelled, CloudedgeError, InvalidInput, NotFound
from cloudedge.serving.models import Loaded, Loading, Models
from cloudedge.serving.tensors import Array
from cloudedge.texts import shown

SERVER: Mapping[str, Any] = {
    "name": "cloudedge",
    "version": __version__,
    "extensions": ["binary_tensor_data", "model_repository"],
}
"""Metadata of the server."""

PLATFORM = "onnx_onnxv1"
"""What models are, as the protocol calls it."""

STATES = {"in-use": "READY", "warm": "READY", "loading": "LOADING", "on-disk": "UNAVAILABLE"}
"""The protocol's words for the state of a version."""


class Forbidden(CloudedgeError):
    """Not everybody may ask for it."""


def inferred(loaded: Loaded, inputs: Mapping[str, Array], wanted: Sequence[str]) -> dict[str, Array]:
    """Outputs of a model, in the order asked for.

    Args:
        loaded: The model.
        inputs: By name.
        wanted: Names of outputs; none: all.

    Raises:
        InvalidInput: the inputs are not those of the model, or it has no such output.
        WorkFailed: it broke.
    """
    names = [tensor.name for tensor in loaded.deployable.outputs]
    if strange := [name for name in wanted if name not in names]:
        raise InvalidInput(f"The model {loaded.name!r} has no output {shown(strange[0])}; it has {', '.join(names)}.")
    outputs = loaded.infer(inputs)
    return {name: outputs[name] for name in wanted or names}


def distinct(inputs: Sequence[tuple[str, Array]]) -> dict[str, Array]:
    """Inputs by name.

    Raises:
        InvalidInput: one is there twice.
    """
    found = dict(inputs)
    if len(found) < len(inputs):
        raise InvalidInput(f"An input is there twice among {', '.join(shown(name) for name, _ in inputs)}. Give each once.")
    return found


def metadata(models: Models, name: str, version: str) -> dict[str, Any]:
    """What a model takes and gives, in the protocol's words.

    Raises:
        NotFound: it is not loaded.
    """
    loaded = models.find(name, version)
    inputs, outputs = (
        [{"name": each.name, "datatype": each.datatype, "shape": list(each.shape)} for each in tensors]
        for tensors in (loaded.deployable.inputs, loaded.deployable.outputs)
    )
    versions = [each.version for each in models.list() if each.name == name and STATES[each.state] == "READY"]
    return {"name": name, "versions": versions, "platform": PLATFORM, "inputs": inputs, "outputs": outputs}


def is_ready(models: Models, name: str, version: str) -> bool:
    """Whether a model answers.

    Raises:
        NotFound: there is no such model, loaded or not.
    """
    try:
        models.find(name, version)
    except NotFound:
        if name in models.known() and (not version or version in models.versions(name)):
            return False
        raise
    return True


def index(models: Models, only_ready: bool) -> list[dict[str, str]]:
    """All versions that are here, in the protocol's words."""
    found = [
        {"name": each.name, "version": each.version, "state": STATES[each.state], "reason": each.reason}
        for each in models.list()
    ]
    return [each for each in found if each["state"] == "READY" or not only_ready]


def load(models: Models, name: str, parameters: Mapping[str, object]) -> Loading:
    """Begin to load a version that is on disk: the one of the parameter 'version', otherwise see `Models.load`.

    Raises:
        InvalidInput: another parameter is given: nobody changes a model by loading it.
        NotFound: there is no such version here.
        Conflict: too many loads wait.
    """
    if strange := sorted(parameters.keys() - {"version"}):
        raise InvalidInput(f"The parameter {shown(strange[0])} is not taken: models are loaded as they were deployed.")
    version = parameters.get("version", "")
    if not isinstance(version, str):
        raise InvalidInput(f"The parameter 'version' is {shown(version)}. Give a version that the index names, as a text.")
    return models.load(name, version or None)


def finished(loading: Loading) -> Loaded:
    """What a load that is done came to.

    Raises:
        CloudedgeError: why it failed.
    """
    try:
        return loading.result(0)
    except CancelledError:
        raise Cancelled(f"The load of the model {loading.name!r} was given up.") from None


def require_here(address: str) -> None:
    """Have models loaded and unloaded from this machine only: whoever else reaches the port may ask them, and not stop them.

    Args:
        address: IP address of who asks.

    Raises:
        Forbidden: it is another machine.
    """
    try:
        here = ipaddress.ip_address(address).is_loopback
    except ValueError:
        here = False
    if not here:
        raise Forbidden(
            f"Models are loaded and unloaded from the machine itself, not from {address or 'elsewhere'}. "
            "Log in there, or deploy."
        )
