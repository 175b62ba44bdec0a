"""The run report: one HTML page, nothing outside it, that shows what collaboration bought.

The figures come first, then the drawings, then who brought what, at last what a machine would want: task and digests.
A section without data is left out, so the page of a run that failed half-way is a page all the same.
"""

from importlib.resources import files

from markupsafe import Markup

from cloud.pages.markup import element, number, table
from cloud.pages.words import count, share, size
from cloud.runs.records import ModelScores
from components.report.charts import MOST_DOTS, Bar, Rounds, bars_chart, bounds_of, rounds_chart
from components.report.confusion import confusion_map
from components.report.edges import edge_table, edges_hidden, heatmap
from components.report.findings import EVERYTHING, Findings
from components.report.headline import facts, headline, verdict
from components.report.steps import event_table, timeline


def render(found: Findings) -> str:
    """Draw a run, as far as it has come.

    Returns:
        An HTML page in UTF-8; the same run gives the same page.
    """
    sections = (
        _rounds(found),
        _environments(found),
        _heatmap(found),
        _edges(found),
        _confusion(found),
        _time(found),
        _for_machines(found),
    )
    style = files("components.report").joinpath("page.css").read_text("utf-8")
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", f"{found.task.name}: run report"),
        element("style", Markup(style)),  # noqa: S704  # A file of ours.
    )
    top = element(
        "header", element("p", found.task.name, class_="name"), element("h1", headline(found)), verdict(found), facts(found)
    )
    body = element("body", element("main", top, *(section for section in sections if section)))
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


def _section(title: str, *content: str) -> Markup:
    return element("section", element("h2", title), *content)


def _legend(*kinds: str, edge: str = "an edge's own model") -> Markup:
    """What the colours mean."""
    names = {"fused": "fused model", "pretrained": "pretrained model", "edge": edge}
    return element("p", *(element("span", element("i", class_=kind), names[kind]) for kind in kinds), class_="legend")


def _note(*sentences: str) -> Markup:
    text = " ".join(sentence for sentence in sentences if sentence)
    return element("p", text, class_="note") if text else Markup()


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
    return _section(
        "Accuracy over rounds",
        _legend("fused", "pretrained", "edge"),
        element("div", figures[0], class_="wide"),
        element("div", *figures[1:], class_="panels") if figures[1:] else Markup(),
        _note(
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
    return _section(
        "Accuracy by environment",
        _legend(*kinds, edge="best edge alone"),
        element("div", bars_chart("environments", groups), class_="wide"),
        _note(best, _hidden_environments(found)),
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
    return _section(
        "What each edge reaches alone",
        heatmap(found),
        _note(
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
    return _section(
        "The edges",
        edge_table(found),
        _note(
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
    return _section(
        "What the final model takes for what",
        confusion_map(found.evaluation.confusion, found.task.data.classes),
        _note("Samples of all test data by their true class and the class predicted."),
    )


def _time(found: Findings) -> Markup:
    if len(found.events) < 2:
        return Markup()
    log = element(
        "details", element("summary", f"Operation log: {count(len(found.events), 'operation')}"), event_table(found.events)
    )
    return _section(
        "Where the time went",
        timeline(found.events),
        _note("Each step counts from the end of the one before it, so what the engine needs to start it is included."),
        log,
    )


def _for_machines(found: Findings) -> Markup:
    details = []
    rows = []
    if found.pretraining:
        rows.append(_digest("pretrained", found.pretraining.sha256, found.pretraining.size))
    rows += [_digest(f"fused, round {record.round}", record.sha256, record.size) for record in found.fusions]
    if rows:
        head = ["Model", "SHA-256 of its file", element("th", "Size", class_="number")]
        details.append(element("details", element("summary", "Models and their digests"), table(head, rows, "digests")))
    task = element("pre", found.task.to_json().decode())
    details.append(element("details", element("summary", "The task"), element("div", task, class_="scroll")))
    return _section("To look up", *details)


def _digest(name: str, sha256: str, length: int) -> list[Markup]:
    return [element("td", name), element("td", element("code", sha256)), number(size(length))]


def _environment(name: str) -> str:
    return "All test data" if name == EVERYTHING else name


def _hidden_environments(found: Findings) -> str:
    hidden = found.environments_hidden()
    return f"{count(hidden, 'environment')} where the final model does better are not shown." if hidden else ""
