"""A run's models on the cloud's test data."""

from pathlib import Path

from cloud.runs.step_records import ModelScores
from cloud.step import Step
from cloud.stores.recorded import recorded
from cloudedge.documents import DataFormat, TrainingTask
from cloudedge.errors import InvalidSamples, NotFound
from cloudedge.places import found_at, is_utf8, shown_path, subfolders

TOTAL = "all"
"""Environment under which scores on all test data together are kept; no folder may have this name."""


def environments(test_data: Path, data: DataFormat) -> dict[str, Path]:
    """The environments in a folder of test data: its folders, if it has any that are not classes; else it is one.

    Each has its folder's name as it is shown.

    Raises:
        InvalidSamples: there is no such folder or file, a file would be measured nowhere, or a folder has the total's name, or
            is shown by another's.
    """
    from cloudedge.data import loose_files

    shown = shown_path(test_data)
    if not test_data.exists():
        raise InvalidSamples(f"There is no test data at {shown}: correct the path, or leave it empty to do without.")
    if not test_data.is_dir():
        return {"test": test_data}
    try:
        folders = subfolders(test_data)
    except OSError as error:
        raise InvalidSamples(f"{shown} cannot be listed: {error.strerror}. Check its rights.") from None
    if not folders or (data.storage == "image-folder" and any(_is_class(folder, data) for folder in folders)):
        return {"test": test_data}
    for folder in folders:
        if not is_utf8(folder):
            raise InvalidSamples(found_at(folder).told())
        if folder.name == TOTAL:
            raise InvalidSamples(
                f"{shown_path(folder)} has the name that the scores on all test data are kept under. Give the folder another."
            )
    loose = loose_files(test_data, data)
    if loose:
        raise InvalidSamples(
            f"{shown_path(loose[0])} lies beside folders, each of which is an environment, and belongs to none of them. "
            "Put it into a folder of its own."
        )
    # A name is shown on terminals and pages, which obey some of what a folder may be called.
    named = {shown_path(folder.name): folder for folder in folders}
    if len(named) < len(folders):
        raise InvalidSamples(f"Two folders in {shown} are shown by the same name: rename one of them.")
    return named


def _is_class(folder: Path, data: DataFormat) -> bool:
    """Whether a folder's name is a class's, or the index of one and images lie right in it."""
    from cloudedge.data import loose_files
    from cloudedge.data.records import class_at, class_named

    if class_named(folder.name, data) is not None:
        return True
    return class_at(folder.name, data) is not None and bool(loose_files(folder, data))


def score_on_test_data(
    work: Step, task: TrainingTask, rounds: int, test_data: Path
) -> tuple[tuple[ModelScores, ...], tuple[tuple[int, ...], ...]]:
    """Score the pretrained model, each round's fused one and each edge's first: what it reaches alone, if it is of round 1.

    Returns:
        Scores of each model by environment, 'all' among them; and the final model's confusion matrix, rows being true classes.

    Raises:
        InvalidSamples: the test data does not fit the task's data format.
        InvalidModel: a model is another than was recorded.
        NotFound: one is gone.
    """
    import torch

    from cloudedge.data import Samples, load_samples
    from cloudedge.models import build
    from cloudedge.training import logits_of, measured, use_threads
    from cloudedge.weights import load

    use_threads(task.pretraining.threads)
    tests = {name: load_samples(path, task.data) for name, path in environments(test_data, task.data).items()}
    everything = Samples(
        inputs=torch.cat([samples.inputs for samples in tests.values()]),
        labels=torch.cat([samples.labels for samples in tests.values()]),
    )
    sizes = [len(samples) for samples in tests.values()]
    network = build(task.model, task.data, task.seed)
    models: list[ModelScores] = []

    def score(name: str, key: str, sha256: str, **rounds: int) -> torch.Tensor:
        with recorded(work.store, key, sha256) as path:
            network.load_state_dict(load(path))
        logits = logits_of(network, everything)
        parts = zip(tests, torch.split(logits, sizes), torch.split(everything.labels, sizes), strict=True)
        scores = {environment: measured(answers, labels) for environment, answers, labels in parts}
        models.append(ModelScores(name=name, scores={**scores, TOTAL: measured(logits, everything.labels)}, **rounds))
        return logits

    for edge, (number, sha256, key) in sorted(_first_models(work, rounds).items()):
        score(edge, key, sha256, trained_in=number)
    for number in range(rounds + 1):
        record = work.run.model_after(number)
        if record is None:
            raise NotFound(f"Run {work.run.id} has no record of the model of round {number}: run its steps before.")
        name = f"fused-{number}" if number else "pretrained"
        logits = score(name, work.run.fused_key(number), record.sha256, round=number)
    size = len(task.data.classes)
    pairs = everything.labels * size + logits.argmax(dim=1)
    confusion = torch.bincount(pairs, minlength=size * size).reshape(size, size)
    return tuple(models), tuple(tuple(row) for row in confusion.tolist())


def _first_models(work: Step, rounds: int) -> dict[str, tuple[int, str, str]]:
    """Of each edge the first model that was fused: round of its order, digest and key."""
    first: dict[str, tuple[int, str, str]] = {}
    for number in range(1, rounds + 1):
        record = work.run.fusion(number)
        for c in record.contributions if record else ():
            first.setdefault(c.edge, (c.round, c.sha256, work.run.output_key(c, "model")))
    return first
