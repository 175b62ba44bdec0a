"""What earlier versions wrote, as this one says it: edges keep such orders in their ledgers, and stores their runs."""

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


def manifest(value: Any) -> Any:
    """A manifest up to version 0.1, which had one result."""
    if not isinstance(value, dict) or "result" in value or "samples" not in value:
        return value
    kept = {"$schema", "schema_version", "order", "edge", "seconds", "runner_version"}
    former = {*kept, "run", "round", "attempt", "model_sha256", "model_size"}
    result = {key: inner for key, inner in value.items() if key not in former and inner is not None}
    trained = value.get("model_sha256") is not None
    scores = result.get("scores")
    if trained and isinstance(scores, dict) and "result" in scores:
        result["scores"] = {("model" if name == "result" else name): inner for name, inner in scores.items()}
    model = {"sha256": value.get("model_sha256"), "size": value.get("model_size")}
    return {
        **{key: inner for key, inner in value.items() if key in kept},
        "outputs": {"model": model} if trained else {},
        "result": {"kind": "train" if trained else "evaluate", **result},
    }


def manifest_as_of_version_1(manifest: dict[str, Any], order: dict[str, Any]) -> dict[str, Any]:
    """A manifest as cloudedge 0.1 reads it.

    Args:
        manifest: As this version has it, of a kind that version 0.1 knew.
        order: The order that it is about.
    """
    result = {key: value for key, value in manifest["result"].items() if key != "kind"}
    model = manifest["outputs"].get("model") or {}
    scores = {("result" if name == "model" else name): value for name, value in result.pop("scores").items()}
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
        "scores": scores,
        "seconds": manifest["seconds"],
        "runner_version": manifest["runner_version"],
    }
