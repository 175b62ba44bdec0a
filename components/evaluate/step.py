"""Evaluation: the edges judge the fused model on what they held out, and the cloud on its test data, if it has any.

No sample travels: an edge gets the models and answers with numbers.
"""

from collections.abc import Iterable

from cloud.orders.dispatch import Participants
from cloud.orders.issue import Assignment, StoredFile
from cloud.orders.steps import StepOrders, await_results, issue
from cloud.orders.watch import Watched
from cloud.runs.run import EVALUATE
from cloud.runs.step_records import Evaluation, Gate
from cloud.step import Step, step
from cloud.tracking import MetricPoint, TrackingRecord
from cloudedge.documents import Evaluate, Evaluated, LeftOut, Scores, TrainingTask
from cloudedge.errors import NotFound
from components.evaluate.models import score_on_test_data


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
        task = work.run.task_for(TrainingTask)
        evaluation = work.run.evaluation()
        if evaluation is None:
            evaluation = _evaluate(work, task, test_data)
            work.run.put(work.run.key("evaluation.json"), evaluation)
            gate = evaluation.gate
            figures = gate and {"fused": gate.fused, "pretrained": gate.pretrained}
            unmeasured = {one.edge: one.reason for one in gate.left_out} if gate else {}
            work.log("evaluated", sha256=evaluation.sha256, gate=figures, left_out=unmeasured)
        work.close_orders()
        _track(work, evaluation)
        return evaluation


def _evaluate(work: Step, task: TrainingTask, test_data: str) -> Evaluation:
    rounds = work.run.rounds_fused()
    final = work.run.model_after(rounds)
    if final is None:
        raise NotFound(f"Run {work.run.id} has no model to evaluate: run its steps before.")
    gate = _gate(work, task, rounds) if rounds else None
    models, confusion = score_on_test_data(work, task, rounds, work.samples_at(test_data)) if test_data else ((), ())
    return Evaluation(rounds=rounds, sha256=final.sha256, size=final.size, gate=gate, models=models, confusion=confusion)


def _gate(work: Step, task: TrainingTask, rounds: int) -> Gate:
    asked = task.collaboration
    pretrained, fused = work.run.pretraining(), work.run.fusion(rounds)
    if pretrained is None or fused is None:
        raise NotFound(f"Run {work.run.id} has not both a pretrained and a fused model: run its steps before.")
    models = {
        "pretrained": StoredFile(work.run.pretrained_key, pretrained.sha256, pretrained.size),
        "fused": StoredFile(work.run.fused_key(rounds), fused.sha256, fused.size),
    }
    measuring = Evaluate(model=task.model, data=task.data, training=asked.training, seed=task.seed)
    evaluation = StepOrders(
        Assignment(EVALUATE, measuring, models, {}, asked.round_deadline_seconds),
        Participants(asked.edges, asked.quorum, begun=True),
        grace_seconds=asked.straggler_grace_seconds,
    )
    issue(work, evaluation)
    watch, _ = await_results(work, evaluation)
    gate = _judged(sorted(watch.edges.items()))
    for one in gate.left_out:
        work.say(f"{one.edge} does not measure: {one.reason}")
    if gate.pretrained is not None and gate.fused is not None:
        figures = f"pretrained {gate.pretrained:.3f}, fused {gate.fused:.3f}"
        work.say(f"On {gate.samples} held-out samples of {len(gate.edges)} edges: {figures}.")
    work.say(gate.verdict)
    return gate


def _judged(edges: Iterable[tuple[str, Watched]]) -> Gate:
    """What the edges' answers come to; one that could not measure, or whose answer is about something else, is left out."""
    scores: dict[str, dict[str, Scores]] = {}
    left_out = []
    for edge, watched in edges:
        result = watched.manifest.result if watched.manifest and watched.delivered else None
        found = result.scores if isinstance(result, Evaluated) else None
        if found is None:
            of_another_kind = watched.delivered and not isinstance(result, Evaluated)
            reason = "its manifest is about no measurement" if of_another_kind else watched.state()
            left_out.append(LeftOut(edge=edge, reason=reason))
        elif set(found) != {"pretrained", "fused"}:
            left_out.append(LeftOut(edge=edge, reason="its manifest has not the scores of the two models that it was sent"))
        elif found["pretrained"].samples != found["fused"].samples:
            left_out.append(LeftOut(edge=edge, reason="it measured the two models on different samples"))
        elif not found["fused"].samples:
            left_out.append(LeftOut(edge=edge, reason="it has no held-out sample"))
        else:
            scores[edge] = dict(found)
    total = sum(found["fused"].samples for found in scores.values())

    def accuracy(name: str) -> float | None:
        return sum(found[name].accuracy * found[name].samples for found in scores.values()) / total if total else None

    before, after = accuracy("pretrained"), accuracy("fused")
    passed = before is not None and after is not None and after >= before
    return Gate(passed=passed, pretrained=before, fused=after, samples=total, edges=scores, left_out=tuple(left_out))


def _track(work: Step, evaluation: Evaluation) -> None:
    at = work.written_at(work.run.key("evaluation.json"))
    points: list[MetricPoint] = []
    tags = {"cloudedge.sha256": evaluation.sha256}
    if evaluation.gate:
        gate = evaluation.gate
        if gate.pretrained is not None and gate.fused is not None:
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
    work.track("evaluate", TrackingRecord(at=at, metrics=tuple(points), tags=tags))
