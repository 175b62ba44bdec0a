"""A run in figures, for `--json` and for `cloudedge tasks`."""

from datetime import UTC, datetime
from typing import Any

from cloud.runs.events import events
from cloud.runs.run import Run
from cloud.tracking import registered_of, trouble_of
from cloudedge.documents import Task
from cloudedge.errors import CloudedgeError

UNREADABLE = "unreadable"
"""What stands for a run's state where the run cannot be read."""


def overview(run: Run) -> dict[str, Any]:
    """One line's worth of a run.

    Raises:
        NotFound: there is no such run.
    """
    task = run.task()
    state = run.state()
    rounds = run.rounds_fused()
    pretrained, fused = _accuracies(run, task, rounds)
    return {
        "id": run.id,
        "name": task.name,
        "state": state.state if state else "created",
        "message": state.message if state else "",
        "since": f"{state.at:%Y-%m-%d %H:%M:%S}" if state else None,
        "seen": _seen(run) if state and state.state == "running" else None,
        "rounds": rounds,
        "pretrained": pretrained,
        "fused": fused,
    }


def unreadable(run_id: str, error: CloudedgeError) -> dict[str, Any]:
    """The line of a run that cannot be read."""
    known = {"id": run_id, "name": None, "state": UNREADABLE, "message": str(error), "rounds": None}
    return {**known, "since": None, "seen": None, "pretrained": None, "fused": None}


def _accuracies(run: Run, task: Task, rounds: int) -> tuple[float | None, float | None]:
    """Of the pretrained model and the newest fused one of which it is known, on the edges' held-out samples.

    Without collaboration the pretrained model's on the cloud's.
    """
    evaluation = run.evaluation()
    if evaluation and evaluation.gate:
        return evaluation.gate.pretrained, evaluation.gate.fused
    if not task.collaborate:
        pretraining = run.pretraining()
        return pretraining.accuracy if pretraining else None, None
    # A round's edges measure the model that it began with.
    first, last = run.fusion(1) if rounds else None, run.fusion(rounds) if rounds > 1 else None
    return first.base_accuracy if first else None, last.base_accuracy if last else None


def _seen(run: Run) -> str | None:
    alive = run.store.stat(run.key("alive"))
    return f"{datetime.fromtimestamp(alive.modified, UTC):%Y-%m-%d %H:%M:%S}" if alive else None


def summary(run: Run) -> dict[str, Any]:
    """What came of a run: its model, how good it is and where, and what took how long."""
    evaluation = run.evaluation()
    found: dict[str, Any] = {"model": None, "accuracy": {}, "gate_passed": None, "seconds": seconds(run)}
    registered, trouble = registered_of(run.store, run.id), trouble_of(run.store, run.id)
    found["registered"] = {"model": registered.registered_model, "version": registered.version} if registered else None
    found["mlflow"] = trouble.message if trouble else ""
    if evaluation is None:
        return found
    key = run.fused_key(evaluation.rounds)
    with run.store.local(key) as path:
        found["model"] = {"path": str(path), "key": key, "sha256": evaluation.sha256, "size": evaluation.size}
    accuracy: dict[str, Any] = {}
    if evaluation.gate:
        gate = evaluation.gate
        found["gate_passed"] = gate.passed
        accuracy["on_edges"] = {
            "pretrained": gate.pretrained,
            "fused": gate.fused,
            "edges": {edge: {name: scores.accuracy for name, scores in of.items()} for edge, of in gate.edges.items()},
        }
    if evaluation.models:
        named = {model.name: {at: scores.accuracy for at, scores in model.scores.items()} for model in evaluation.models}
        test: dict[str, Any] = {"pretrained": named["pretrained"]}
        if evaluation.rounds:
            test["fused"] = named[f"fused-{evaluation.rounds}"]
            test["edges_alone"] = {model.name: named[model.name] for model in evaluation.alone()}
            test["rounds"] = [
                named["pretrained" if number == 0 else f"fused-{number}"]["all"] for number in range(evaluation.rounds + 1)
            ]
        accuracy["on_test"] = test
    found["accuracy"] = accuracy
    return found


def seconds(run: Run) -> dict[str, float]:
    """Duration of each finished step by its name, from the operation log; of a repeated step, the last."""
    return {
        str(event.details["step"]): float(event.details["seconds"])
        for _, event in events(run.store, run.id)
        if event.action == "step-done"
    }
