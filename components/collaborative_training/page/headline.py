"""The report's first words: how good the model is, what became of it, and what was run."""

from cloud.pages.words import count, share
from components.collaborative_training.page.findings import EVERYTHING, Findings


def headline(found: Findings) -> str:
    """The run in one sentence, with its figures."""
    gate = found.evaluation.gate if found.evaluation else None
    if gate and gate.fused is not None:
        return f"Fused model: {share(gate.fused)} on the edges' held-out samples; pretrained: {share(gate.pretrained)}."
    if not found.pretraining:
        return "No model is trained yet."
    accuracy = found.pretraining.accuracy
    measured = "not measured, as the cloud holds out no samples"
    if accuracy is not None:
        measured = f"{share(accuracy)} on the cloud's held-out samples"
    own = f"Pretrained model: {measured}"
    if not found.fusions:
        return own + "."
    evaluated = "not measured at the edges" if gate else "not evaluated yet"
    return f"{own}; {count(len(found.fusions), 'round')} fused, {evaluated}."


def sentences(found: Findings) -> list[str]:
    """What follows from the figures."""
    evaluation, said = found.evaluation, []
    models = found.by_round()
    if len(models) > 1:
        first, last = models[0].scores[EVERYTHING], models[-1].scores[EVERYTHING]
        best = max((model.scores[EVERYTHING].accuracy for model in found.alone()), default=None)
        between = f"best edge alone {share(best)}, " if best is not None else ""
        said.append(
            f"On {count(last.samples, 'test sample')}: "
            f"fused {share(last.accuracy)}, {between}pretrained {share(first.accuracy)}."
        )
    elif models:
        scores = models[0].scores[EVERYTHING]
        said.append(f"On {count(scores.samples, 'test sample')}: {share(scores.accuracy)}.")
    if evaluation and evaluation.gate:
        said.append(evaluation.gate.verdict)
    if registration := _registration(found):
        said.append(registration)
    asked = found.task.collaboration
    if evaluation and 0 < evaluation.rounds < asked.rounds:
        said.append(
            f"The target of {share(asked.target_accuracy)} was reached "
            f"after {evaluation.rounds} of {count(asked.rounds, 'round')}."
        )
    return said


def _registration(found: Findings) -> str:
    """What became of the model in MLflow's registry; empty if it was not to have a version yet."""
    evaluation, version = found.evaluation, found.registered
    if version and evaluation and version.sha256 == evaluation.sha256:
        return f"Registered as {version.registered_model}, version {version.version}."
    outcomes = [event for event in found.story.events if event.action in ("registered", "unregistered")]
    if not outcomes:
        return ""
    last = outcomes[-1]
    return f"Registered as {last.details.get('model')}." if last.action == "registered" else str(last.details.get("reason"))


def facts(found: Findings) -> list[tuple[str, str]]:
    """What was run, at a glance."""
    task = found.task
    pairs = [("Model", task.model.architecture)]
    if found.pretraining:
        pairs.append(("Cloud samples", f"{found.pretraining.samples:,}"))
    if found.edges_in_all:
        pairs += [
            ("Edges", f"{found.edges_in_all:,}"),
            ("Rounds", f"{len(found.fusions):,}"),
            ("Fusion rule", task.collaboration.fusion.rule),
        ]
    return pairs
