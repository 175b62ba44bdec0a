"""A device's model as it is registered, with what it costs on which device."""

from cloud.runs.run import Run
from cloud.tracking import Ancestor, Registration
from cloud.tracking.sweeps import CHAMPION
from cloudedge.automl.screen import milliseconds
from cloudedge.documents.automl import Costs
from cloudedge.documents.tasks.edge_automl import EdgeAutomlTask
from cloudedge.errors import CloudedgeError, NotFound
from components.edge_automl.page.sections import description
from components.edge_automl.records import MODEL, SEARCH, Ranking, search_of


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
    tags = {"cloudedge.accuracy": f"{result.accuracy:.4f}"} if result.accuracy is not None else {}
    tags |= {f"cloudedge.costs.{name}": words for name, words in costs_by_device(run, ranking, edge).items()}
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


def costs_by_device(run: Run, ranking: Ranking, edge: str) -> dict[str, str]:
    """What a device's model costs there, as measured, and on the others, as they expect it to."""
    found: dict[str, str] = {}
    model = ranking.devices[edge].result
    waited = run.waited(SEARCH)
    for delivery in waited.delivered if waited else ():
        device = ranking.devices.get(delivery.edge)
        if delivery.edge == edge and model.costs:
            found[delivery.edge] = f"{_in_words(model.costs)} (measured)"
            continue
        try:
            predictions = search_of(run, delivery).predictions
        except CloudedgeError:
            continue
        for each in predictions if device else ():
            if each.candidate == model.candidate:
                fits = f"breaks its limit of {' and '.join(each.broken)}" if each.broken else "keeps its limits"
                found[delivery.edge] = f"{_in_words(each.predicted)} (expected; {fits})"
    return found


def _in_words(costs: Costs) -> str:
    energy = "" if costs.energy_joules is None else f", {costs.energy_joules:.3g} J"
    return (
        f"{milliseconds(costs.latency_ms)}, at most {milliseconds(costs.latency_bound_ms)} beside a busy neighbour, "
        f"{costs.memory_bytes:,} bytes{energy}"
    )
