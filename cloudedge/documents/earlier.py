"""What earlier versions wrote, as this one says it: edges keep such orders in their ledgers, and stores their runs."""

import math
from typing import Any

_TRAIN = ("model", "model_file_name", "data", "training", "recollection", "seed")
_EVALUATE = ("model", "data", "training", "seed")


def with_step(value: Any) -> Any:
    """What is of a round, up to version 0.1: its step has the round's number as its name."""
    if isinstance(value, dict) and "round" in value and "step" not in value:
        return {**{key: inner for key, inner in value.items() if key != "round"}, "step": str(value["round"])}
    return value


def order(value: Any) -> Any:
    """An order up to version 0.1, which was shaped like training."""
    value = with_step(value)
    if not isinstance(value, dict) or "work" in value or value.get("kind") not in ("train", "evaluate"):
        return value
    names = _TRAIN if value["kind"] == "train" else _EVALUATE
    former = {*_TRAIN, "kind", "result"}
    result = value.get("result")
    return {
        **{key: inner for key, inner in value.items() if key not in former},
        "work": {"kind": value["kind"], **{name: value[name] for name in names if name in value}},
        "outputs": {"model": result} if result else {},
    }


def report(value: Any) -> Any:
    """A report up to version 0.1, which was shaped like training and had the whole history."""
    if not isinstance(value, dict) or value.get("schema_version") != 1 or "points" in value:
        return value
    former = {"epoch", "epochs", "batch", "batches", "loss", "history", "samples", "recollections"}
    gauges = {name: value[name] for name in ("samples", "recollections", "loss") if value.get(name) is not None}
    return {
        **{key: inner for key, inner in value.items() if key not in former},
        "progress": _streams(*(value.get(name, 0) for name in ("epoch", "epochs", "batch", "batches"))),
        "gauges": gauges,
        "points": _points(value.get("history", [])),
    }


def manifest(value: Any) -> Any:
    """A manifest up to version 0.1, which had one result."""
    if not isinstance(value, dict) or "result" in value or "samples" not in value:
        return value
    kept = {"$schema", "schema_version", "order", "edge", "seconds", "runner_version"}
    former = {*kept, "run", "round", "attempt", "model_sha256", "model_size", "history"}
    result = {key: inner for key, inner in value.items() if key not in former and inner is not None}
    trained = value.get("model_sha256") is not None
    scores = result.get("scores")
    if trained and isinstance(scores, dict) and "result" in scores:
        result["scores"] = {("model" if name == "result" else name): inner for name, inner in scores.items()}
    model = {"sha256": value.get("model_sha256"), "size": value.get("model_size")}
    points = _points(value.get("history", []))
    last = _last(points)
    return {
        **{key: inner for key, inner in value.items() if key in kept},
        "outputs": {"model": model} if trained else {},
        "points": last + 1,
        "history": points,
        "result": {"kind": "train", "epochs": max(last, 0), **result} if trained else {"kind": "evaluate", **result},
    }


def _epoch_as_point(record: Any, begin: float) -> Any:
    """An epoch after so many seconds of work as a point; what is none is returned as it is, to be refused as one."""
    scores = record.get("scores") if isinstance(record, dict) else None
    if not isinstance(scores, dict):
        return record
    values = {name: scores.get(name) for name in ("accuracy", "recall", "loss")} if scores.get("samples") else {}
    if record.get("train_loss") is not None:
        values["train_loss"] = record["train_loss"]
    return {"sequence": record.get("epoch"), "seconds": begin + _number(record.get("seconds")), "values": values}


def _points(history: Any) -> Any:
    if not isinstance(history, list):
        return history
    points, seconds = [], 0.0
    for record in history:
        points.append(_epoch_as_point(record, seconds))
        seconds = _number(points[-1].get("seconds")) if isinstance(points[-1], dict) else seconds
    return points


def _last(points: Any) -> int:
    """Sequence of the last point; -1: there is none, or it is not sound and will be refused."""
    last = points[-1] if isinstance(points, list) and points else None
    found = last.get("sequence") if isinstance(last, dict) else None
    return found if isinstance(found, int) else -1


def _streams(epoch: Any, epochs: Any, batch: Any, batches: Any) -> list[dict[str, Any]]:
    """Epochs and, within one, batches. The epoch at work was counted from 1."""
    streams = [{"name": "epochs", "done": epoch, "total": epochs, "unit": "epochs"}]
    if batches:
        if isinstance(epoch, int):
            streams[0]["done"] = max(epoch - 1, 0)
        streams.append({"name": "batches", "done": batch, "total": batches, "unit": "batches"})
    return streams


def _number(value: Any) -> float:
    """A number, or nan in place of what is none: it is refused where it ends up."""
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def report_as_of_version_1(report: dict[str, Any]) -> dict[str, Any]:
    """A report as cloudedge 0.1 reads it.

    Args:
        report: As this version has it.
    """
    streams = {stream["name"]: stream for stream in report["progress"]}
    epochs = streams.get("epochs", {"done": 0, "total": 0})
    batches = streams.get("batches", {"done": 0, "total": 0})
    gauges = report["gauges"]
    return {
        **{key: value for key, value in report.items() if key not in ("progress", "gauges", "points")},
        "schema_version": 1,
        "epoch": epochs["done"] + (1 if batches["total"] else 0),
        "epochs": epochs["total"],
        "batch": batches["done"],
        "batches": batches["total"],
        "loss": gauges.get("loss"),
        "history": _history(report["points"], int(gauges.get("held_out", 1))),
        "samples": int(gauges.get("samples", 0)),
        "recollections": int(gauges.get("recollections", 0)),
    }


def manifest_as_of_version_1(manifest: dict[str, Any], order: dict[str, Any]) -> dict[str, Any]:
    """A manifest as cloudedge 0.1 reads it.

    Args:
        manifest: As this version has it, of a kind that version 0.1 knew.
        order: The order that it is about.
    """
    result = {key: value for key, value in manifest["result"].items() if key not in ("kind", "epochs")}
    model = manifest["outputs"].get("model") or {}
    scores = {("result" if name == "model" else name): value for name, value in result.pop("scores").items()}
    held_out = scores["result"]["samples"] if "result" in scores else 1
    return {
        "schema_version": 1,
        "order": manifest["order"],
        "run": order["run"],
        "round": int(order["step"]),
        "edge": manifest["edge"],
        "attempt": order["attempt"],
        "model_sha256": model.get("sha256"),
        "model_size": model.get("size"),
        "samples": 0,
        **result,
        "history": _history(manifest.get("history", []), held_out),
        "scores": scores,
        "seconds": manifest["seconds"],
        "runner_version": manifest["runner_version"],
    }


def _history(points: list[dict[str, Any]], held_out: int) -> list[dict[str, Any]]:
    """Points of training as version 0.1 has epochs.

    Args:
        points: By sequence.
        held_out: Samples that each was measured on.
    """
    history, begin = [], 0.0
    for point in points:
        values = point["values"]
        scores = {name: values.get(name, 0.0) for name in ("loss", "accuracy", "recall")}
        history.append(
            {
                "epoch": point["sequence"],
                "train_loss": values.get("train_loss"),
                "scores": {"samples": held_out if "accuracy" in values else 0, **scores},
                "seconds": max(point["seconds"] - begin, 0.0),
            }
        )
        begin = point["seconds"]
    return history
