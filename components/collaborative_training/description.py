"""What a person reads on the page of a registered version: how good the model is, what it was made of, how it is used."""

from collections.abc import Sequence

from cloud.pages.markdown import code, table
from cloud.runs.step_records import Evaluation
from cloud.tracking import Ancestor
from cloudedge.documents import TrainingTask

_MOST_EDGES = 20
"""Rows of the table of edges; `lineage.json` has all."""


def description(run: str, task: TrainingTask, evaluation: Evaluation, ancestors: Sequence[Ancestor]) -> str:
    """Describe a version, in Markdown."""
    parts = [f"{task.name}: {_origin(run, task, evaluation)}"]
    gate = evaluation.gate
    if gate and gate.pretrained is not None and gate.fused is not None:
        parts.append(
            f"Accuracy on the edges' held-out samples: **{gate.fused:.3f}**; the pretrained model's: {gate.pretrained:.3f}."
        )
    parts.append(_lineage(ancestors))
    shape = ", ".join(map(str, task.data.input_shape))
    parts.append(
        f"`model.safetensors` (sha256 {code(evaluation.sha256)}) takes float32 [n, {shape}] and gives [n, "
        f"{len(task.data.classes)}], a score for each class; `task.json` has the network's architecture and how samples "
        "become inputs, `lineage.json` all digests in full."
    )
    return "\n\n".join(parts)


def _origin(run: str, task: TrainingTask, evaluation: Evaluation) -> str:
    if not evaluation.rounds:
        return f"the pretrained model of run {code(run)}."
    rounds = f"{evaluation.rounds} round{'' if evaluation.rounds == 1 else 's'}"
    return f"fused by the rule {code(task.collaboration.fusion.rule)}, {rounds}, in run {code(run)}."


def _lineage(ancestors: Sequence[Ancestor]) -> str:
    edges = [ancestor for ancestor in ancestors if ancestor.role == "edge"]
    shown = [ancestor for ancestor in ancestors if ancestor.role != "edge"] + edges[:_MOST_EDGES]
    rows = [
        (
            ancestor.edge or ancestor.role,
            str(ancestor.round),
            "" if ancestor.weight is None else f"{ancestor.weight:.3f}",
            "" if ancestor.samples is None else f"{ancestor.samples:,}",
            _short(ancestor.data_fingerprint),
            _short(ancestor.sha256),
        )
        for ancestor in shown
    ]
    hidden = f"\n\nAnd {len(edges) - _MOST_EDGES} more edges." if len(edges) > _MOST_EDGES else ""
    return table(("made of", "round", "weight", "samples", "data fingerprint", "model's sha256"), rows) + hidden


def _short(digest: str) -> str:
    return code(digest[:12]) if digest else ""
