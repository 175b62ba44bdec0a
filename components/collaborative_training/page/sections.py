"""What the report of collaborative training draws: what collaboration bought, and who brought what."""

from markupsafe import Markup

from cloud.pages.markup import element
from cloud.pages.words import count, share
from cloud.reports.report import Report, ReportedModel, remark, section
from cloud.runs.step_records import ModelScores
from components.collaborative_training.page.charts import MOST_DOTS, Bar, Rounds, bars_chart, bounds_of, rounds_chart
from components.collaborative_training.page.confusion import confusion_map
from components.collaborative_training.page.edges import edge_table, edges_hidden, heatmap
from components.collaborative_training.page.findings import EVERYTHING, Findings
from components.collaborative_training.page.headline import facts, headline, sentences
from components.collaborative_training.page.note import tables


def report_of(found: Findings) -> Report:
    """A run, as far as it has come."""
    sections = (_rounds(found), _environments(found), _heatmap(found), _edges(found), _confusion(found))
    return Report(
        found.story,
        headline=headline(found),
        sentences=sentences(found),
        facts=facts(found),
        sections=[one for one in sections if one],
        tables=tables(found),
        models=_models(found),
    )


def _legend(*kinds: str, edge: str = "an edge's own model") -> Markup:
    """What the colours mean."""
    names = {"fused": "fused model", "pretrained": "pretrained model", "edge": edge}
    return element("p", *(element("span", element("i", class_=kind), names[kind]) for kind in kinds), class_="legend")


def _rounds(found: Findings) -> Markup:
    at_edges, on_tests, edges = found.fused_at_edges(), found.by_round(), found.by_edge()
    if len(found.fusions) < 2:
        return Markup()
    panels: list[tuple[str, Rounds]] = []
    if len(at_edges) > 1:
        gate = found.evaluation.gate if found.evaluation else None
        own = [(r.round, c.accuracy) for r in found.fusions for c in r.contributions if c.accuracy is not None]
        reference = gate.pretrained if gate and gate.fused is not None else at_edges[0][1] if at_edges[0][0] == 0 else None
        panels.append(("On the edges' held-out samples", Rounds(at_edges, reference, own)))
    for name in found.environments():
        line = [(model.round or 0, model.scores[name].accuracy) for model in on_tests]
        dots = [(model.trained_in or 0, model.scores[name].accuracy) for model in edges]
        panels.append((_environment(name), Rounds(line, line[0][1], dots)))
    if not panels:
        return Markup()
    values = [value for _, rounds in panels for _, value in (*rounds.fused, *rounds.edges)]
    bounds = bounds_of([*values, *(rounds.pretrained for _, rounds in panels if rounds.pretrained is not None)])
    figures = [
        element("figure", element("figcaption", title), rounds_chart(f"rounds-{index}", rounds, bounds, wide=index == 0))
        for index, (title, rounds) in enumerate(panels)
    ]
    return section(
        "Accuracy over rounds",
        _legend("fused", "pretrained", "edge"),
        element("div", figures[0], class_="wide"),
        element("div", *figures[1:], class_="panels") if figures[1:] else Markup(),
        remark(
            "At the edges, an edge's own model is measured on that edge's samples alone; the fused model on those of all.",
            "The band reaches from the lowest of the edges' own models to the highest."
            if any(len(rounds.edges) > MOST_DOTS for _, rounds in panels)
            else "",
            "No model was trained on the test data." if on_tests else "",
            "Of the edges' own models each one's first is measured on it." if edges else "",
            _hidden_environments(found),
        ),
    )


def _environments(found: Findings) -> Markup:
    names = found.environments()
    if not names:
        return Markup()
    models, edges = found.by_round(), found.alone()
    groups = [(_environment(name), _bars(name, models, edges)) for name in names]
    kinds = ["pretrained", *(["edge"] if edges else []), *(["fused"] if len(models) > 1 else [])]
    best = (
        "Alone: the edge's own model of round 1, which it trained from the pretrained one on nothing but its samples. The edge "
        "whose model is best in an environment is named at its bar."
        if edges
        else ""
    )
    return section(
        "Accuracy by environment",
        _legend(*kinds, edge="best edge alone"),
        element("div", bars_chart("environments", groups), class_="wide"),
        remark(best, _hidden_environments(found)),
    )


def _bars(environment: str, models: list[ModelScores], edges: list[ModelScores]) -> list[Bar]:
    bars = [Bar("pretrained", models[0].scores[environment].accuracy)]
    if edges:
        best = max(edges, key=lambda model: model.scores[environment].accuracy)
        bars.append(Bar("edge", best.scores[environment].accuracy, best.name))
    if len(models) > 1:
        bars.append(Bar("fused", models[-1].scores[environment].accuracy))
    return bars


def _heatmap(found: Findings) -> Markup:
    if len(found.environments()) < 2 or not found.by_edge():
        return Markup()
    return section(
        "What each edge reaches alone",
        heatmap(found),
        remark(
            "Accuracy of each edge's own model of round 1 on each environment of the test data; each one's best is outlined.",
            "Who came later began with what the others had learned." if len(found.alone()) < len(found.by_edge()) else "",
            edges_hidden(found),
            _hidden_environments(found),
        ),
    )


def _edges(found: Findings) -> Markup:
    if not found.edges:
        return Markup()
    last = found.fusions[-1]
    base = f" The round's base model weighed {share(last.base_weight)}." if last.base_weight else ""
    return section(
        "The edges",
        edge_table(found),
        remark(
            "Accuracies are on the edge's own held-out samples. Alone: its own model of round 1. The weight is the model's "
            "share in the last fusion, "
            f"by the rule {last.rule}.{base}",
            "Over rounds: the dotted line is the model that the edge got, the drawn one the model that it trained."
            if len(found.fusions) > 1
            else "",
            *last.notes,
            edges_hidden(found),
        ),
    )


def _confusion(found: Findings) -> Markup:
    if not (found.evaluation and found.evaluation.confusion):
        return Markup()
    return section(
        "What the final model takes for what",
        confusion_map(found.evaluation.confusion, found.task.data.classes),
        remark("Samples of all test data by their true class and the class predicted."),
    )


def _models(found: Findings) -> list[ReportedModel]:
    own = [ReportedModel("pretrained", found.pretraining.sha256, found.pretraining.size)] if found.pretraining else []
    return own + [ReportedModel(f"fused, round {record.round}", record.sha256, record.size) for record in found.fusions]


def _environment(name: str) -> str:
    return "All test data" if name == EVERYTHING else name


def _hidden_environments(found: Findings) -> str:
    hidden = found.environments_hidden()
    return f"{count(hidden, 'environment')} where the final model does better are not shown." if hidden else ""
