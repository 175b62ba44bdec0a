"""What people and programs are shown of a run of collaborative training, on a terminal."""

from collections.abc import Mapping
from typing import Any

from cloud.runs.run import Run
from cloudedge.documents import TrainingTask

_MOST_EDGES = 20


def overview(run: Run, task: TrainingTask) -> dict[str, Any]:
    """See `pipelines.systems.System.overview`."""
    rounds = run.rounds_fused()
    pretrained, fused = _accuracies(run, task, rounds)
    return {"rounds": rounds, "pretrained": pretrained, "fused": fused}


def summary(run: Run) -> dict[str, Any]:
    """See `pipelines.systems.System.summary`: the model, how good it is and where."""
    evaluation = run.evaluation()
    found: dict[str, Any] = {"model": None, "accuracy": {}, "gate_passed": None}
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


def newest_accuracy(run: Run) -> dict[int, float]:
    """Accuracy on the edges' held-out samples of the model that the last fused round began with, by the round before."""
    number = run.rounds_fused()
    record = run.fusion(number) if number else None
    return {number - 1: record.base_accuracy} if record and record.base_accuracy is not None else {}


def sentence(action: str, details: Mapping[str, Any]) -> str:
    """See `pipelines.systems.System.sentence`."""
    number = details.get("round")
    match action:
        case "pretrained":
            took, accuracy = details.get("seconds", 0), details.get("accuracy")
            measured = "none was held out" if accuracy is None else f"accuracy {accuracy:.3f} on held-out cloud samples"
            return f"Pretrained in {took:.1f} s: {measured}."
        case "fused":
            edges = details.get("edges")
            base = details.get("base_accuracy")
            before = f"; on the edges its base had {base:.3f}" if isinstance(base, float) else ""
            return f"Round {number}: {len(edges) if isinstance(edges, list) else 0} models fused{before}."
        case "files-passed-over":
            return (
                f"Round {number}: {details.get('edge')} passed over files of samples ({details.get('files')}): "
                "'cloudedge-edge status' there says which and why."
            )
        case "unmeasured" if isinstance(edges := details.get("edges"), list):
            return _unmeasured(edges, all_of_them=len(edges) == details.get("of"))
        case "evaluated" if isinstance(gate := details.get("gate"), dict):
            if gate["fused"] is None:
                return "No edge has a held-out sample, so that nobody could measure the fused model."
            return f"On the edges' held-out samples: pretrained {gate['pretrained']:.3f}, fused {gate['fused']:.3f}."
        case "refused":
            return "The regression gate refused the fused model: nothing is registered."
    return ""


def _accuracies(run: Run, task: TrainingTask, rounds: int) -> tuple[float | None, float | None]:
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


def _unmeasured(edges: list[str], *, all_of_them: bool) -> str:
    shown = ", ".join(edges[:_MOST_EDGES]) + (f" and {len(edges) - _MOST_EDGES} more" if len(edges) > _MOST_EDGES else "")
    what = "so no model can be measured there, and none is registered" if all_of_them else "so no model is measured there"
    return f"Too few samples of each class to hold one out at {shown}: {what}. What is trained there counts all the same."
