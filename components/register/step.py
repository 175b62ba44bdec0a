"""Registration: the run's model gets a version in MLflow's model registry, with where it comes from."""

from cloud.runs.step_records import Evaluation
from cloud.step import Step, step
from cloud.tracking import Ancestor, Registration, TrackingRecord, registered_of
from cloud.tracking.sweeps import CHAMPION
from cloudedge.documents import Trained, TrainingTask
from cloudedge.errors import NotFound
from components.register.description import description

_NO_MLFLOW = (
    "Nothing is registered, as no MLflow is named: neither by CLOUDEDGE_TRACKING_URI nor by Kubeflow's MLflow plugin. "
    "The model and the run's figures are in the store."
)
_LATER = "The model is not registered. Once MLflow takes it, the same task, run again, registers it."


def register_model(run_id: str) -> str:
    """Register the run's model, unless the regression gate refused it.

    Returns:
        Name of the registered model, or an empty text if the gate refused, there is no MLflow, or it did not take the model.

    Raises:
        NotFound: the run was not evaluated.
    """
    with step(run_id, "register") as work:
        task = work.run.task_for(TrainingTask)
        evaluation = work.run.evaluation()
        if evaluation is None:
            raise NotFound(f"Run {run_id} was not evaluated yet: run that step first.")
        if evaluation.gate and not evaluation.gate.passed:
            work.say(evaluation.gate.verdict)
            work.log("refused", sha256=evaluation.sha256, reason=evaluation.gate.verdict)
            return ""
        registration = _registration(work, task, evaluation)
        at = work.written_at(work.run.key("evaluation.json"))
        work.track("register", TrackingRecord(at=at), registration=registration)
        missing = _unregistered(work, registration)
        if missing:
            work.log("unregistered", model=registration.registered_model, sha256=registration.sha256, reason=missing)
            return ""
        work.log("registered", model=registration.registered_model, sha256=registration.sha256)
        return registration.registered_model


def _unregistered(work: Step, registration: Registration) -> str:
    """Have the model registered, unless the laptop's engine will; why it is not."""
    if not work.settings.tells_mlflow:
        work.say(_NO_MLFLOW)
        return _NO_MLFLOW
    if not work.settings.tracking_uri:
        return ""
    fault = work.relay()
    registered = registered_of(work.store, work.run.id)
    if registered and registered.sha256 == registration.sha256:
        return ""
    work.say(_LATER)
    return f"{_LATER} {fault}".rstrip()


def _registration(work: Step, task: TrainingTask, evaluation: Evaluation) -> Registration:
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
