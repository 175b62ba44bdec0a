"""Fusion by itself: cloudedge fuse."""

from pathlib import Path
from typing import Annotated

import typer

from cloud.fusion.files import Contribution, fuse_files
from cloud.fusion.rule import find_rule
from cloudedge.documents import Fusion
from cloudedge.errors import InvalidInput, NotFound
from cloudedge.names import sha256_of
from cloudedge.weights import check, layout
from pipelines.commands.options import JsonOption, print_json

_OF_REPORTS = {
    "accuracy": "weighs by what the edges measured",
    "greedy": "tries models on held-out samples",
    "samples": "weighs by the edges' numbers of samples",
}
"""Rules that need more than model files."""


def add_to(app: typer.Typer) -> None:
    """Add this command."""
    app.command("fuse")(fuse)


def fuse(
    models: Annotated[list[Path], typer.Argument(metavar="MODEL...", help="Models to fuse, safetensors.")],
    base: Annotated[Path, typer.Option("--base", help="Model that they began from, safetensors.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the fused model goes.")],
    rule: Annotated[str, typer.Option("--rule", help="Fusion rule.")] = "",
    weights: Annotated[str, typer.Option("--weights", help="Weights of the models, in their order: 1,2,3.")] = "",
    base_weight: Annotated[float, typer.Option("--base-weight", help="Share of the base in the average.")] = 0.0,
    as_json: JsonOption = False,
) -> None:
    """Fuse models of the same layout into one. Without --rule: --weights if given, else uniform."""
    for path in (base, *models):
        if not path.is_file():
            raise NotFound(f"There is no file {path}: correct the path of the model.")
    if not 0 <= base_weight <= 1:
        raise InvalidInput(f"--base-weight is {base_weight}; it is a share, so use a number from 0 to 1.")
    given = _numbers(weights, len(models))
    if rule and rule != "given" and given:
        raise InvalidInput(f"--weights belongs to the rule 'given', not to {rule!r}: leave one of the two out.")
    names = [f"model-{number:05d}" for number in range(1, len(models) + 1)]
    rule = rule or ("given" if given else "uniform")
    if rule in _OF_REPORTS:
        raise InvalidInput(f"The rule {rule!r} {_OF_REPORTS[rule]}, which model files do not tell: give --weights instead.")
    parameters = {"weights": dict(zip(names, given, strict=True))} if given else {}
    find_rule(rule, parameters)
    fusion = Fusion(rule=rule, parameters=parameters, base_weight=base_weight)
    expected = layout(base)
    check(base, expected)
    contributions = []
    for name, path in zip(names, models, strict=True):
        check(path, expected)
        contributions.append(Contribution(edge=name, path=path, samples=1, accuracy=0.0, round=0, sha256=sha256_of(path)))
    outcome = fuse_files(base, contributions, fusion, output)
    if as_json:
        print_json(
            {
                "path": str(output),
                "sha256": outcome.sha256,
                "size": outcome.size,
                "base_weight": outcome.base_weight,
                "weights": dict(zip(map(str, models), outcome.weights, strict=True)),
                "seconds": outcome.seconds,
                "bytes_read": outcome.bytes_read,
                "notes": outcome.notes,
            }
        )
    else:
        rate = outcome.bytes_read / max(outcome.seconds, 1e-9) / 1e9
        print(f"{output}: {len(models)} models fused in {outcome.seconds:.2f} s ({rate:.1f} GB/s), sha256 {outcome.sha256}")
        for note in outcome.notes:
            print(note)


def _numbers(text: str, count: int) -> list[float]:
    if not text:
        return []
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        raise InvalidInput(f"--weights is {text!r}; give numbers with commas between them, such as 1,2,3.") from None
    if len(numbers) != count:
        raise InvalidInput(f"--weights has {len(numbers)} numbers for {count} models: give one for each, in their order.")
    return numbers
