"""Registration: the run's model gets a version in MLflow's model registry, with where it comes from."""

from cloud.step import Step, step
from cloud.tracking import Registration, TrackingRecord, registered_of
from components.systems import Refused, steps_of

_NO_MLFLOW = (
    "Nothing is registered, as no MLflow is named: neither by CLOUDEDGE_TRACKING_URI nor by Kubeflow's MLflow plugin. "
    "The model and the run's figures are in the store."
)
_LATER = "The model is not registered. Once MLflow takes it, the same task, run again, registers it."


def register_model(run_id: str) -> str:
    """Register the run's model, unless its gate refused it.

    Returns:
        Name of the registered model, or an empty text if the gate refused, there is no MLflow, or it did not take the model.

    Raises:
        NotFound: the run has no model that was judged.
    """
    with step(run_id, "register") as work:
        registration = steps_of(work.run.task()).registration(work)
        if isinstance(registration, Refused):
            work.say(registration.reason)
            work.log("refused", sha256=registration.sha256, reason=registration.reason)
            return ""
        at = work.written_at(registration.model_key)
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
