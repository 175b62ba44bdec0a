"""A device's model as it is registered, with what it costs on which device."""

from cloud.pages import markdown
from cloud.pages.words import count, share
from cloud.runs.run import Run
from cloud.tracking import Ancestor, Registration
from cloud.tracking.sweeps import CHAMPION
from cloudedge.automl.screen import candidate_in_words
from cloudedge.documents.automl import Candidate
from cloudedge.documents.kinds.search import Searched
from cloudedge.errors import NotFound
from components.edge_automl.page.findings import Findings
from components.edge_automl.page.tables import elsewhere
from components.edge_automl.records import MODEL, SEARCH, Ranking

_MOST_DEVICES = 20
"""Rows of the table of a version's page, whose length MLflow bounds."""


def registration_of(run: Run, ranking: Ranking, edge: str, found: Findings) -> Registration:
    """A device's model as a version of the run's registered model, under the device's name; the best one is the champion.

    Args:
        run: The run.
        ranking: Its devices' results.
        edge: The device.
        found: What is known of the run's searches.

    Raises:
        NotFound: the device has no model.
    """
    device, waited = ranking.devices.get(edge), run.waited(SEARCH)
    delivery = next((each for each in waited.delivered if each.edge == edge), None) if waited else None
    if device is None or device.deployable is None or device.result.candidate is None or delivery is None:
        there = sorted(name for name, one in ranking.devices.items() if one.deployable)
        raise NotFound(
            f"The device {edge!r} of run {run.id} has no model; there are models of {', '.join(there) or 'no device'}."
        )
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
        registered_model=found.task.registered_model,
        aliases=(*([CHAMPION] if edge == ranking.best else []), f"on-{edge}"),
        tags=tags,
        description=_description(run.id, found, edge, result, device.result.candidate),
        ancestors=(ancestor,),
        classes=deployable.classes,
        deployable=deployable,
    )


def _description(run: str, found: Findings, edge: str, result: Searched, candidate: Candidate) -> str:
    """What a person reads on the version's page, in Markdown: what the model is, and what it costs on which device."""
    costs, hidden = elsewhere(found, edge, _MOST_DEVICES)
    return "\n\n".join(
        [
            f"{found.task.name}: the best network that keeps the limits of the device {markdown.code(edge)}, "
            f"{candidate_in_words(candidate)}, found on its own samples in run {markdown.code(run)}. "
            f"Accuracy on held-out samples: {share(result.accuracy)}; loss: {result.loss}.",
            costs.markdown(),
            *([f"And {count(hidden, 'more device')}."] if hidden else []),
            f"`model.onnx` (sha256 {markdown.code(result.sha256)}) is the file that was measured; `deployable.json` has all to "
            "run it.",
        ]
    )
