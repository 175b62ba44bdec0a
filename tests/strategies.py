"""Hypothesis strategies that make any document out of its own fields and bounds."""

import datetime
import enum
import math
import types
import typing
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar

from annotated_types import Ge, Gt, Le, Lt, MinLen
from hypothesis import strategies as st
from pydantic import AwareDatetime, BaseModel

from cloudedge.documents import (
    Collaboration,
    DataFormat,
    Evaluate,
    Evaluated,
    History,
    Inbox,
    Manifest,
    Order,
    RemoteFile,
    Report,
    Result,
    SampleField,
    Train,
    Trained,
    Work,
    order_id,
)
from cloudedge.documents.automl import (
    Candidate,
    Change,
    Costs,
    DeviceDescription,
    NothingFeasible,
    Remedy,
    SearchRecord,
    Spread,
    Usual,
)
from cloudedge.documents.data import LEAST_SCALE
from cloudedge.documents.deployable import Deployable, Tensor
from cloudedge.documents.detector import Mqtt, ServingPorts
from cloudedge.documents.inspection import NORMAL, Classifier, Gathering
from cloudedge.documents.kinds.deploy import Deploy, Deployed
from cloudedge.documents.kinds.inspect_train import InspectTrain, InspectTrained
from cloudedge.documents.kinds.search import Search, Searched
from cloudedge.documents.sweep import Range
from cloudedge.documents.tasks.edge_automl import EdgeAutomlTask
from cloudedge.documents.tasks.inspection_deployment import InspectionDeploymentTask, Override
from cloudedge.names import folded

Kind = TypeVar("Kind", bound=BaseModel)
Values = dict[str, Any]

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=3,
)
NOTHING = NothingFeasible(
    candidates=1,
    binding="latency",
    remedies=(
        Remedy(
            candidate=Candidate(layers=1, filters=4, kernel=1),
            predicted=Costs(latency_ms=1, latency_bound_ms=1, memory_bytes=1),
            changes=(Change(limit="latency", allowed=0, needed=1),),
        ),
    ),
)
ZONES = st.integers(-12 * 60, 14 * 60).map(lambda minutes: datetime.timezone(datetime.timedelta(minutes=minutes)))
MOST_ITEMS = 2
"""Longer lists would only make the tests slow."""


def documents(kind: type[Kind]) -> st.SearchStrategy[Kind]:
    """Valid documents of a kind; fields that must agree with each other are made to."""
    fields = st.fixed_dictionaries({name: _values(info.annotation, info.metadata) for name, info in kind.model_fields.items()})
    agree = AGREEMENTS.get(kind, dict)
    return fields.map(lambda values: kind.model_validate(agree(values)))


def _values(annotation: Any, metadata: Sequence[Any] = ()) -> st.SearchStrategy[Any]:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        inner = [part for extra in arguments[1:] for part in getattr(extra, "metadata", [extra])]
        return _values(arguments[0], [*metadata, *inner])
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin in (types.UnionType, typing.Union):
        return st.one_of(*(_values(argument, metadata) for argument in arguments))
    if origin is tuple and Ellipsis not in arguments:
        return st.tuples(*map(_values, arguments))
    if origin is tuple:
        least = _bound(metadata, MinLen, "min_length") or 0
        return st.lists(_values(arguments[0]), min_size=least, max_size=max(least, MOST_ITEMS)).map(tuple)
    if origin is dict:
        least = _bound(metadata, MinLen, "min_length") or 0
        return st.dictionaries(_values(arguments[0]), _values(arguments[1]), min_size=least, max_size=max(least, MOST_ITEMS))
    return _single_values(annotation, metadata)


def _single_values(annotation: Any, metadata: Sequence[Any]) -> st.SearchStrategy[Any]:
    if annotation is Any:
        return JSON_VALUES
    if annotation is AwareDatetime:
        first, end = _bound(metadata, Ge, "ge"), _bound(metadata, Lt, "lt")
        if first is None:
            return st.datetimes(timezones=ZONES)
        inside = datetime.timedelta(days=1)  # From every zone.
        return st.datetimes((first + inside).replace(tzinfo=None), (end - inside).replace(tzinfo=None), timezones=ZONES)
    if annotation is type(None) or annotation is None:
        return st.none()
    if annotation is bool:
        return st.booleans()
    if annotation is int:
        least, below = _bound(metadata, Ge, "ge"), _bound(metadata, Lt, "lt")
        most = _bound(metadata, Le, "le") or (2**63 if below is None else below) - 1
        return st.integers(least, most) | st.sampled_from([most] if least is None else [least, most])
    if annotation is float:
        least, above = _bound(metadata, Ge, "ge"), _bound(metadata, Gt, "gt")
        most, below = _bound(metadata, Le, "le"), _bound(metadata, Lt, "lt")
        return st.floats(
            least if least is not None else above,
            most if most is not None else below,
            exclude_min=above is not None,
            exclude_max=below is not None,
            allow_nan=False,
            allow_infinity=False,
        )
    if annotation is str:
        patterns = [part.pattern for part in metadata if getattr(part, "pattern", None)]
        if patterns:
            return st.from_regex(patterns[0], fullmatch=True)
        return st.text(min_size=_bound(metadata, MinLen, "min_length") or 0, max_size=10)
    if annotation in KINDS:
        return st.one_of(*map(documents, KINDS[annotation]))
    if issubclass(annotation, enum.Enum):
        return st.sampled_from(list(annotation))
    return documents(annotation)


def _bound(metadata: Sequence[Any], kind: type, name: str) -> Any:
    return next((getattr(part, name) for part in metadata if isinstance(part, kind)), None)


def _field(values: Values) -> Values:
    column = values["column"] and _visible(values["column"])
    scale = values["scale"] if abs(values["scale"]) >= LEAST_SCALE else 1.0
    return values | {"shape": tuple(length % 20 + 1 for length in values["shape"]), "column": column, "scale": scale}


def _data_format(values: Values) -> Values:
    # A column for each, numbered behind a hyphen, so that none is another's, and none's label.
    fields = tuple(
        field.model_copy(update={"name": f"f{number}", "column": field.column and f"{field.column}-{number}"})
        for number, field in enumerate(values["fields"])
    )
    classes = [_visible(name) for name in values["classes"]]
    label = {"label": f"l{values['label']}"[:100], "label_column": values["label_column"] and f"{values['label_column']}-l"}
    if values["storage"] == "image-folder":
        fields = (fields[0].model_copy(update={"shape": (1, 8, 8), "column": None}),)
        classes = ["class " + name.replace("/", "").replace("\0", "") for name in classes]
        label["label_column"] = None
    distinct = tuple({folded(name): name for name in (*classes, "one", "two")}.values())
    return values | label | {"fields": fields, "classes": distinct}


def _visible(name: str) -> str:
    return name if folded(name) else "x"


def _collaboration(values: Values) -> Values:
    edges = tuple(dict.fromkeys(values["edges"]))
    return values | {"edges": edges, "quorum": min(values["quorum"], len(edges))}


def _order(values: Values) -> Values:
    values["id"] = order_id(values["run"], values["step"], values["edge"], values["attempt"])
    work, file = values["work"], RemoteFile(url="https://store/base", sha256="0" * 64, size=1)
    values["inputs"] = values["inputs"] if work.inputs is None else dict.fromkeys(work.inputs, file)
    values["outputs"] = dict.fromkeys(work.outputs, values["manifest"])
    return values


def _inbox(values: Values) -> Values:
    orders = (
        order.model_copy(update={"edge": values["edge"], "id": order_id(order.run, order.step, values["edge"], order.attempt)})
        for order in values["orders"]
    )
    return values | {"orders": tuple({order.id: order for order in orders}.values())}


def _in_order(values: Values) -> Values:
    points = {point.sequence: point for point in values["points"]}
    return values | {"points": tuple(points[sequence] for sequence in sorted(points))}


def _range(values: Values) -> Values:
    low, high = sorted((values["low"], values["high"]))
    log = values["log"] and low > 0
    step = high - low  # Which may be more than any number.
    return {"low": low, "high": high, "log": log, "step": None if log or not 0 < step < math.inf else step}


def _manifest(values: Values) -> Values:
    return values | {"history": _in_order({"points": values["history"]})["points"]}


def _detectors(values: Values) -> Values:
    return values | {"detectors": tuple(dict.fromkeys(values["detectors"]))}


def _deployment(values: Values) -> Values:
    least = values["rollout"].canary_seconds + values["bounds"].watch_seconds
    return _detectors(values) | {"deadline_seconds": max(values["deadline_seconds"], least + 1)}


def _classifier(values: Values) -> Values:
    return values | {"classes": tuple(name for name in dict.fromkeys(values["classes"]) if name != NORMAL)}


def _costs(values: Values) -> Values:
    return values | {"latency_bound_ms": max(values["latency_ms"], values["latency_bound_ms"])}


def _device(values: Values) -> Values:
    idle, busy = values["idle_watts"], values["busy_watts"]
    return values | {"busy_watts": busy if idle is None or busy is None else max(idle, busy)}


def _search_record(values: Values) -> Values:
    return values | {"nothing": None if values["row"] else values["nothing"] or NOTHING}


def _spread(values: Values) -> Values:
    return values | dict(
        zip(("low", "median", "high"), sorted(values[name] for name in ("low", "median", "high")), strict=True)
    )


def _usual(values: Values) -> Values:
    return values | dict(zip(("since", "until"), sorted((values["since"], values["until"])), strict=True))


def _mqtt(values: Values) -> Values:
    return values | {
        "password_file": values["password_file"] if values["user"] else "",
        "authorities": values["authorities"] if values["tls"] else "",
    }


def _serving(values: Values) -> Values:
    return values | {"host": "127.0.0.1", "grpc": None if values["grpc"] == values["http"] else values["grpc"]}


def _override(values: Values) -> Values:
    return values if values["by"].strip() and values["reason"].strip() else {"by": "", "reason": ""}


def _deployable(values: Values) -> Values:
    image = values["image"]
    if image:
        pixels = Tensor(name="image", datatype="UINT8", shape=(-1, image.height, image.width, 3))
        values["inputs"] = (pixels,)
    inputs, outputs = ({tensor.name: tensor for tensor in values[name]} for name in ("inputs", "outputs"))
    if values["threshold"] is not None:
        outputs["score"] = Tensor(name="score", datatype="FP32", shape=(-1,))
    if values["classes"]:
        outputs["probabilities"] = Tensor(name="probabilities", datatype="FP32", shape=(-1, len(values["classes"])))
    return values | {"inputs": tuple(inputs.values()), "outputs": tuple(outputs.values())}


KINDS: dict[type, tuple[type[BaseModel], ...]] = {
    Work: (Train, Evaluate, InspectTrain, Deploy, Search),
    Result: (Trained, Evaluated, InspectTrained, Deployed, Searched),
}
"""What an order asks for, and what comes of it, by kind."""

AGREEMENTS: dict[type[BaseModel], Callable[[Values], Values]] = {
    Collaboration: _collaboration,
    Classifier: _classifier,
    Costs: _costs,
    DataFormat: _data_format,
    Deploy: _detectors,
    DeviceDescription: _device,
    EdgeAutomlTask: _collaboration,
    Deployable: _deployable,
    SampleField: _field,
    Gathering: _detectors,
    History: _in_order,
    Inbox: _inbox,
    InspectionDeploymentTask: _deployment,
    Manifest: _manifest,
    Mqtt: _mqtt,
    Order: _order,
    Override: _override,
    Range: _range,
    Report: _in_order,
    SearchRecord: _search_record,
    ServingPorts: _serving,
    Spread: _spread,
    Usual: _usual,
}
