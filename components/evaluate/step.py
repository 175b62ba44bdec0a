"""Evaluation: the edges judge the fused model on what they held out, and the cloud on its test data, if it has any.

No sample travels: an edge gets the models and answers with numbers.
"""

from cloudedge.documents import Task
from cloudedge.errors import NotFound
from components.dispatch.orders import ModelFile
from components.dispatch.step import dispatch
from components.evaluate.models import score_on_test_data
from components.shared.orders import close_orders
from components.shared.records import Evaluation, Gate
from components.shared.step import Step, step
from components.shared.tracking import MetricPoint, TrackingRecord
from components.wait.step import wait_for
from components.wait.watch import RoundWatch


def evaluate_run(run_id: str, test_data: str = "") -> Evaluation:
    """Measure what a run brought, and let the regression gate decide whether its model may be registered.

    Args:
        run_id: Run.
        test_data: Folder of samples that nobody trained on, or store:NAME; each folder in it is an environment. Empty: none.

    Raises:
        QuorumMissed: too few edges answered.
        Cancelled: somebody cancelled the run.
    """
    with step(run_id, "evaluate") as work:
        task = work.run.task()
        evaluation = work.run.evaluation()
        if evaluation is None:
            evaluation = _evaluate(work, task, test_data)
            work.run.put(work.run.key("evaluation.json"), evaluation)
            gate = evaluation.gate
            work.log("evaluated", sha256=evaluation.sha256, gate=gate and {"fused": gate.fused, "pretrained": gate.pretrained})
        close_orders(work.inboxes, work.run.id)
        _track(work, evaluation)
        return evaluation


def _evaluate(work: Step, task: Task, test_data: str) -> Evaluation:
    rounds = work.run.rounds_fused()
    final = work.run.fusion(rounds) if rounds else work.run.pretraining()
    if final is None:
        raise NotFound(f"Run {work.run.id} has no model to evaluate: run its steps before.")
    gate = _gate(work, task, rounds) if rounds else None
    models, confusion = score_on_test_data(work, task, rounds, work.samples_at(test_data)) if test_data else ((), ())
    return Evaluation(rounds=rounds, sha256=final.sha256, size=final.size, gate=gate, models=models, confusion=confusion)


def _gate(work: Step, task: Task, rounds: int) -> Gate:
    asked = task.collaboration
    number = asked.rounds + 1
    pretrained, fused = work.run.pretraining(), work.run.fusion(rounds)
    if pretrained is None or fused is None:
        raise NotFound(f"Run {work.run.id} has not both a pretrained and a fused model: run its steps before.")
    models = {
        "pretrained": ModelFile(work.run.pretrained_key, pretrained.sha256, pretrained.size),
        "fused": ModelFile(work.run.fused_key(rounds), fused.sha256, fused.size),
    }
    dispatch(work, task, number, "evaluate", models)
    watch = RoundWatch.of(work.run, number)
    quorum = asked.quorum or len(watch.edges)
    wait_for(work, watch, number, quorum, asked.round_deadline_seconds, asked.straggler_grace_seconds)
    edges = {
        edge: watched.manifest.scores
        for edge, watched in sorted(watch.edges.items())
        if watched.manifest and not watched.refusal and set(watched.manifest.scores) == set(models)
    }
    total = sum(scores["fused"].samples for scores in edges.values())

    def accuracy(name: str) -> float:
        return sum(scores[name].accuracy * scores[name].samples for scores in edges.values()) / total if total else 0.0

    before, after = accuracy("pretrained"), accuracy("fused")
    work.say(f"On {total} held-out samples of {len(edges)} edges: pretrained {before:.3f}, fused {after:.3f}.")
    return Gate(passed=after >= before and total > 0, pretrained=before, fused=after, samples=total, edges=edges)


def _track(work: Step, evaluation: Evaluation) -> None:
    at = work.written_at(work.run.key("evaluation.json"))
    points: list[MetricPoint] = []
    tags = {"cloudedge.sha256": evaluation.sha256}
    if evaluation.gate:
        gate = evaluation.gate
        points += [
            MetricPoint(key="accuracy_on_edges", value=gate.fused, step=evaluation.rounds, at=at),
            MetricPoint(key="gain_on_edges", value=gate.fused - gate.pretrained, step=evaluation.rounds, at=at),
        ]
        tags["cloudedge.gate"] = "passed" if gate.passed else "refused"
    for model in evaluation.models:
        if model.round is not None:
            points += [
                MetricPoint(key=f"test_accuracy/{environment}", value=scores.accuracy, step=model.round, at=at)
                for environment, scores in model.scores.items()
            ]
    pretrained = work.run.pretraining()
    if pretrained:
        accuracy = pretrained.history[-1].scores.accuracy
        points.append(MetricPoint(key="accuracy_of_pretrained_model", value=accuracy, step=0, at=at))
    work.track("evaluate", TrackingRecord(at=at, metrics=tuple(points), tags=tags))
