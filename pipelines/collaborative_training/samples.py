"""Samples on this machine, looked at before a run of collaborative training begins."""

from collections.abc import Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path

from cloudedge.data import count_samples, holds_out, loose_files, read_records
from cloudedge.documents import DataFormat, TrainingTask
from cloudedge.errors import CloudedgeError, InvalidInput, InvalidSamples
from cloudedge.places import shown_path
from components.evaluate.models import environments
from pipelines.laptop.data import Data


def require_cloud(data: Data) -> None:
    """Make sure that there is something to pretrain on.

    Raises:
        InvalidInput: there is no folder for it.
    """
    if not data.cloud.exists():
        raise InvalidInput(
            f"{data.shown} has no folder 'cloud': put the cloud's samples into {data.shown}/cloud, each edge's into "
            f"{data.shown}/edges/<edge>, and samples that nobody trains on into {data.shown}/test (optional)."
        )


def require_fit(task: TrainingTask, data: Data) -> None:
    """Read a first sample of the cloud's, and all of the test data, which is otherwise read last of all.

    Raises:
        InvalidSamples: it does not fit the format, or there is none; or a file in edges/ belongs to no edge.
    """
    form, edges = task.data, data.folder / "edges"
    loose = loose_files(edges, form) if task.collaborate and edges.is_dir() else []
    if loose:
        raise InvalidSamples(f"{shown_path(loose[0])} belongs to no edge. Put it into the folder of one.")
    counts = {data.cloud: sum(1 for _ in islice(read_records(data.cloud, form, data.cloud), 1))}
    if data.test:
        counts |= {place: count_samples(place, form) for place in environments(Path(data.test), form).values()}
    for place, count in counts.items():
        if not count:
            raise InvalidSamples(f"{shown_path(place)} has files but no sample: put some there.")


def unmeasured(form: DataFormat, folders: Mapping[str, Path]) -> list[str]:
    """The edges among these with samples, but too few of each class to hold one out and measure a model on it."""
    found = []
    for edge, folder in folders.items():
        with suppress(CloudedgeError):  # What cannot be read is passed over there, and said by its runner.
            if not holds_out(read_records(folder, form, folder), form.held_out):
                found.append(edge)
    return found
