"""What each edge brought and got: the table of edges, and where their models are good."""

from collections.abc import Sequence

from markupsafe import Markup

from cloud.pages.marks import histogram, sparkline
from cloud.pages.markup import element, number, table
from cloud.pages.words import count, share
from cloud.runs.step_records import ModelScores
from components.collaborative_training.page.findings import EVERYTHING, EdgeStory, Findings


def edge_table(found: Findings) -> Markup:
    """A row for each edge: its data, the models by its own measure, its weight, and what went wrong."""
    rounds = len(found.fusions)
    sparks = rounds > 1
    judged = any(story.judged for story in found.edges)
    head = ["Edge", _head("Samples"), "By class", _head("Epochs")]
    if judged:
        head.append(_head("Pretrained"))
    head.append(_head("Alone"))
    if judged:
        head.append(_head("Fused"))
    if sparks:
        head.append("Over rounds")
    head += [_head("Weight"), "Remarks"]
    return table(head, [_row(story, found, rounds, judged=judged, sparks=sparks) for story in found.edges], "edges")


def edges_hidden(found: Findings) -> str:
    """How many edges a table leaves out, in words; empty if none."""
    hidden = found.edges_in_all - len(found.edges)
    return f"The {len(found.edges)} edges with the lowest accuracy are shown, {hidden:,} more are not." if hidden else ""


def heatmap(found: Findings) -> Markup:
    """Edge models by environment, the pretrained and the fused model below them."""
    environments = found.environments()
    edges = [model for model in found.by_edge() if model.name in {story.name for story in found.edges}]
    cloud = found.by_round()
    ends = [("Pretrained", cloud[0]), (f"Fused, round {cloud[-1].round}", cloud[-1])]
    values = [model.scores[name].accuracy for model in (*edges, cloud[0], cloud[-1]) for name in environments]
    low, high = min(values), max(values)
    rows = [_heat_row(_first_of(model), model, environments, low, high) for model in edges]
    rows += [_heat_row(title, model, environments, low, high, strong=True) for title, model in ends]
    head = ["Model", *(_head("All" if name == EVERYTHING else name) for name in environments)]
    return table(head, rows, "heat")


def _first_of(model: ModelScores) -> str:
    return model.name if model.trained_in == 1 else f"{model.name}, since round {model.trained_in}"


def _row(story: EdgeStory, found: Findings, rounds: int, *, judged: bool, sparks: bool) -> list[Markup]:
    last = story.turns[-1] if story.turns else None
    trained = last.trained if last else None
    cells = [
        element("th", story.name, scope="row"),
        number(f"{trained.samples:,}" if trained else ""),
        element("td", histogram(trained.label_histogram, found.task.data.classes) if trained else ""),
        number(f"{trained.epochs:,}" if trained else ""),
    ]
    pretrained, fused = story.judged.get("pretrained"), story.judged.get("fused")
    if judged:
        cells.append(number(share(pretrained.accuracy if pretrained else None)))
    cells.append(number(share(story.alone)))
    if judged:
        worse = bool(fused and pretrained and fused.accuracy < pretrained.accuracy)
        cells.append(number(share(fused.accuracy if fused else None), class_="number worse" if worse else "number strong"))
    if sparks:
        cells.append(element("td", _spark(story, rounds)))
    weight = last.weight if last and last.round == rounds else None
    return [*cells, number(share(weight)), element("td", *_remarks(story, rounds), class_="remarks")]


def _spark(story: EdgeStory, rounds: int) -> str:
    before = [(turn.round, turn.before) for turn in story.turns if turn.before is not None]
    after = [(turn.round, turn.accuracy) for turn in story.turns if turn.accuracy is not None]
    return sparkline(rounds, before, after) if after else ""


def _remarks(story: EdgeStory, rounds: int) -> list[Markup]:
    remarks: list[str] = []
    late = [turn.round for turn in story.turns if turn.trained_in < turn.round]
    if late:
        remarks.append(f"Late: an earlier round's model joined in round {_numbers(late)}.")
    if story.absences:
        number, reason = story.absences[-1]
        if len(story.absences) == 1:
            remarks.append(f"Left out in round {number}: {reason}")
        else:
            remarks.append(f"Left out in {len(story.absences)} of {rounds} rounds; in round {number}: {reason}")
    if story.unjudged:
        remarks.append(f"Did not judge the fused model: {story.unjudged}")
    measured = story.turns[-1].accuracy is not None if story.turns else False
    if story.turns and not measured:
        remarks.append("Its model is not measured: too few samples of each class to hold one out.")
    trained = story.turns[-1].trained if story.turns else None
    if trained and trained.recollections:
        remarks.append(f"Collected samples {count(trained.recollections, 'more time')}.")
    if trained and trained.files_passed_over:
        passed_over = count(trained.files_passed_over, "file")
        remarks.append(f"Passed over {passed_over} of samples: 'cloudedge-edge status' there says which and why.")
    if trained and measured and not trained.target_met:
        remarks.append("Below its target accuracy.")
    return [element("div", remark, title=remark) for remark in remarks]


def _heat_row(
    title: str, model: ModelScores, environments: Sequence[str], low: float, high: float, *, strong: bool = False
) -> list[Markup]:
    values = [model.scores[name].accuracy for name in environments]
    best = None if strong else max(values[1:])
    cells = [element("th", title, scope="row", class_="strong" if strong else None)]
    for index, value in enumerate(values):
        heat = 0.04 + 0.66 * (value - low) / (high - low) if high > low else 0.3
        class_ = "number best" if index and value == best else "number"
        cells.append(number(share(value), class_=class_, style=f"--heat-share: {heat:.2f}"))
    return cells


def _numbers(rounds: Sequence[int]) -> str:
    return ", ".join(map(str, rounds[:5])) + (", ..." if len(rounds) > 5 else "")


def _head(text: str) -> Markup:
    return element("th", text, class_="number")
