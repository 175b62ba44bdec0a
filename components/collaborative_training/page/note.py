"""The report's tables in short, in Markdown."""

from cloud.pages.markdown import table
from cloud.pages.words import MOST_EDGES, count, share
from components.collaborative_training.page.findings import EVERYTHING, EdgeStory, Findings


def tables(found: Findings) -> list[str]:
    """Environments and edges, as far as there are any."""
    return [text for text in (_environments(found), _edges(found)) if text]


def _environments(found: Findings) -> str:
    names, models = found.environments(), found.by_round()
    if len(names) < 2 or len(models) < 2:
        return ""
    first, last = models[0].scores, models[-1].scores
    best = {name: max((model.scores[name].accuracy for model in found.alone()), default=None) for name in names}
    rows = [(name, share(first[name].accuracy), share(best[name]), share(last[name].accuracy)) for name in names]
    named = {EVERYTHING: "all test samples"}
    return table(
        ("environment", "pretrained", "best edge alone", "fused"), [(named.get(row[0], row[0]), *row[1:]) for row in rows]
    )


def _edges(found: Findings) -> str:
    if not found.edges:
        return ""
    hidden = found.edges_in_all - len(found.edges)
    more = f"\n\nAnd {count(hidden, 'edge')} more." if hidden else ""
    titles = ("edge", "rounds", "last weight", "samples", "pretrained", "alone", "fused")
    return table(titles, [_row(story) for story in found.edges[:MOST_EDGES]]) + more


def _row(story: EdgeStory) -> tuple[str, ...]:
    last = story.turns[-1] if story.turns else None
    judged = {name: scores.accuracy for name, scores in story.judged.items()}
    return (
        story.name,
        str(len(story.turns)),
        share(last.weight) if last else "",
        f"{last.trained.samples:,}" if last and last.trained else "",
        share(judged.get("pretrained")),
        share(story.alone),
        share(judged.get("fused")),
    )
