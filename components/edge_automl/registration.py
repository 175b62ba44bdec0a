"""A device's model as it is registered, with what it costs on which device."""

from cloud.runs.run import Run
from cloud.tracking import Ancestor, Registration
from cloud.tracking.sweeps import CHAMPION
from cloudedge.documents.tasks.edge_automl import EdgeAutomlTask
from cloudedge.errors import NotFound
from components.edge_automl.page.description import description
from components.edge_automl.records import MODEL, SEARCH, Ranking


def registration_of(run: Run, ranking: Ranking, edge: str) -> Registration:
    """A device's model as a version of the run's registered model, under the device's name; the best one is the champion.

    Raises:
        NotFound: the device has no model.
    """
    task, waited = run.task_for(EdgeAutomlTask), run.waited(SEARCH)
    device = ranking.devices.get(edge)
    delivery = next((each for each in waited.delivered if each.edge == edge), None) if waited else None
    if device is None or device.deployable is None or delivery is None:
        raise NotFound(f"The device {edge} of run {run.id} has no model.")
    result, deployable = device.result, device.deployable
    ancestor = Ancestor(
        role="edge",
        edge=edge,
        round=0,
        sha256=result.sha256,
        samples=result.samples,
        data_fingerprint=result.data_fingerprint,
    )
    tags = {"cloudedge.device": edge}
    if result.accuracy is not None:
        tags["cloudedge.accuracy"] = f"{result.accuracy:.4f}"
    if result.costs is not None:
        measured = result.costs.model_dump(exclude={"origin"}, exclude_none=True)
        tags |= {
            f"cloudedge.{name}": f"{value:g}" if isinstance(value, float) else str(value) for name, value in measured.items()
        }
    return Registration(
        model_key=run.output_key(delivery, MODEL),
        sha256=result.sha256,
        registered_model=task.registered_model,
        aliases=(*([CHAMPION] if edge == ranking.best else []), f"on-{edge}"),
        tags=tags,
        description=description(run, task, ranking, edge),
        ancestors=(ancestor,),
        classes=deployable.classes,
        deployable=deployable,
    )
