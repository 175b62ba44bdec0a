"""What a person reads on the page of the version that a run's best model became."""

from cloud.pages import markdown
from cloud.pages.words import share
from cloud.runs.run import Run
from cloudedge.automl.screen import candidate_in_words
from cloudedge.documents.tasks.edge_automl import EdgeAutomlTask
from cloudedge.errors import NotFound
from components.edge_automl.page import tables
from components.edge_automl.page.findings import gather
from components.edge_automl.records import Ranking


def description(run: Run, task: EdgeAutomlTask, ranking: Ranking, edge: str) -> str:
    """What a device's model is, and what it costs on which device, in Markdown.

    Args:
        run: The run; what its searches predict of the other devices is read there.
        task: What was asked for.
        ranking: The devices' results.
        edge: Device whose model it is.

    Raises:
        NotFound: that device has no model.
    """
    ranked = ranking.devices.get(edge)
    if ranked is None or ranked.result.candidate is None:
        raise NotFound(f"The device {edge!r} has no model; there are models of {', '.join(_with_models(ranking)) or 'none'}.")
    result = ranked.result
    said = [
        f"{task.name}: the best network that keeps the limits of the device {markdown.code(edge)}, "
        f"{candidate_in_words(ranked.result.candidate)}, found on its own samples in run {markdown.code(run.id)}. "
        f"Accuracy on held-out samples: {share(result.accuracy)}; loss: {result.loss}.",
        tables.elsewhere(gather(run), edge).markdown(),
    ]
    if ranked.deployable:
        sha256 = markdown.code(ranked.deployable.sha256)
        said.append(f"`model.onnx` (sha256 {sha256}) is the file that was measured; `deployable.json` has all to run it.")
    return "\n\n".join(said)


def _with_models(ranking: Ranking) -> list[str]:
    return sorted(name for name, one in ranking.devices.items() if one.result.candidate)
