"""What is registered of a run of collaborative training, and how it is deployed."""

from pathlib import Path

from cloud.runs.run import Run
from cloud.runs.step_records import Evaluation
from cloud.step import Step
from cloud.stores.recorded import recorded
from cloud.tracking import Ancestor, Registration
from cloud.tracking.sweeps import CHAMPION
from cloudedge.documents import Trained, TrainingTask
from cloudedge.documents.deployable import Lineage
from cloudedge.errors import NotFound
from components.collaborative_training.description import description
from components.systems import Offered, Refused


def registration_of(work: Step) -> Registration | Refused:
    """See `components.systems.SystemSteps.registration`.

    Raises:
        NotFound: the run was not evaluated.
    """
    task = work.run.task_for(TrainingTask)
    evaluation = _evaluated(work.run)
    if evaluation.gate and not evaluation.gate.passed:
        return Refused(evaluation.sha256, evaluation.gate.verdict)
    tags = {
        "cloudedge.rounds": str(evaluation.rounds),
        "cloudedge.rule": task.collaboration.fusion.rule if evaluation.rounds else "none",
    }
    if evaluation.gate and evaluation.gate.fused is not None:
        tags["cloudedge.accuracy_on_edges"] = f"{evaluation.gate.fused:.4f}"
    ancestors = _ancestors(work, evaluation.rounds)
    return Registration(
        model_key=work.run.fused_key(evaluation.rounds),
        sha256=evaluation.sha256,
        registered_model=task.registered_model,
        aliases=(CHAMPION,),
        tags=tags,
        description=description(work.run.id, task, evaluation, ancestors),
        ancestors=ancestors,
        input_shape=task.data.input_shape,
        classes=task.data.classes,
    )


def offered_by(run: Run, folder: Path) -> Offered:
    """See `components.systems.SystemSteps.offer`: the fused model, as one ONNX file.

    Raises:
        NotFound: the run was not evaluated.
        InvalidModel: its model was altered, or cannot be one ONNX file.
    """
    from cloudedge.deployable.converting import convert

    task, evaluation = run.task_for(TrainingTask), _evaluated(run)
    path = folder / "model.onnx"
    lineage = Lineage(run=run.id, base_sha256=evaluation.sha256)
    with recorded(run.store, run.fused_key(evaluation.rounds), evaluation.sha256) as weights:
        deployable = convert(task.model, task.data, weights, path, task.registered_model, lineage)
    gate = evaluation.gate
    verdict = gate.verdict if gate else "No gate: the run had no collaboration."
    return Offered(deployable, path, gate is None or gate.passed, verdict)


def _evaluated(run: Run) -> Evaluation:
    evaluation = run.evaluation()
    if evaluation is None:
        raise NotFound(f"Run {run.id} was not evaluated yet: run that step first.")
    return evaluation


def _ancestors(work: Step, rounds: int) -> tuple[Ancestor, ...]:
    pretrained = work.run.pretraining()
    record = work.run.fusion(rounds) if rounds else None
    ancestors: list[Ancestor] = []
    if pretrained:
        ancestors.append(
            Ancestor(
                role="pretrained",
                round=0,
                sha256=pretrained.sha256,
                samples=pretrained.samples,
                data_fingerprint=pretrained.data_fingerprint,
            )
        )
    if record is None:
        return tuple(ancestors)
    ancestors.append(Ancestor(role="base", round=rounds - 1, sha256=record.base_sha256, weight=record.base_weight))
    for c in record.contributions:
        trained = work.run.manifest(c).result
        ancestors.append(
            Ancestor(
                role="edge",
                edge=c.edge,
                round=c.round,
                sha256=c.sha256,
                weight=c.weight,
                samples=c.samples,
                data_fingerprint=trained.data_fingerprint if isinstance(trained, Trained) else "",
            )
        )
    return tuple(ancestors)
