"""What a finished run of collaborative training brought, drawn on the terminal."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cloud.runs.run import Run
from cloud.runs.step_records import Evaluation
from pipelines.display.live import sparkline

_BAR = 24


def print_outcome(console: Console, run: Run) -> None:
    """See `pipelines.systems.System.print_outcome`."""
    evaluation = run.evaluation()
    if evaluation:
        _print_gate(console, evaluation)
        _print_environments(console, evaluation)
        with run.store.local(run.fused_key(evaluation.rounds)) as path:
            console.print(f"Model     {path}", soft_wrap=True)


def _print_gate(console: Console, evaluation: Evaluation) -> None:
    gate = evaluation.gate
    if gate is None:
        return
    if gate.pretrained is None or gate.fused is None:
        console.print(Text(gate.verdict))
        console.print()
        return
    word = "better than or as good as" if gate.passed else "WORSE than"
    console.print(
        Text(
            f"After {evaluation.rounds} rounds the fused model has {gate.fused:.3f} accuracy on the edges' own held-out "
            f"samples: {word} the pretrained model's {gate.pretrained:.3f}."
        )
    )
    console.print()


def _print_environments(console: Console, evaluation: Evaluation) -> None:
    named = {model.name: model for model in evaluation.models}
    if not named:
        return
    pretrained = named["pretrained"]
    fused = named.get(f"fused-{evaluation.rounds}")
    own = evaluation.alone()
    table = Table(title="Accuracy on samples that nobody trained on", title_justify="left", box=None, pad_edge=False)
    for title in ("environment", "pretrained", "best edge alone", "fused", ""):
        table.add_column(title, justify="left" if title in ("", "environment") else "right")
    for environment in pretrained.scores:
        before = pretrained.scores[environment].accuracy
        best = max((model.scores[environment].accuracy for model in own), default=None)
        after = fused.scores[environment].accuracy if fused else None
        table.add_row(
            Text(environment),  # A folder may be called [red].
            f"{before:.3f}",
            "-" if best is None else f"{best:.3f}",
            "-" if after is None else f"{after:.3f}",
            _bar(before, after) if after is not None else "",
            style="bold" if environment == "all" else "",
        )
    console.print(table)
    if fused:
        rounds = [
            named[f"fused-{number}" if number else "pretrained"].scores["all"].accuracy
            for number in range(evaluation.rounds + 1)
        ]
        console.print(f"\nOver the rounds  {sparkline(rounds)}  {rounds[0]:.3f} → {rounds[-1]:.3f}\n")


def _bar(before: float, after: float) -> Text:
    start, end = round(before * _BAR), round(after * _BAR)
    text = Text("█" * min(start, end), style="dim")
    text.append("█" * max(end - start, 0), style="green")
    text.append("░" * max(start - end, 0), style="red")
    return text
