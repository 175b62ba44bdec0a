"""What work leaves when it is done: its files, and the manifest that makes a result of them."""

from collections.abc import Mapping
from pathlib import Path

from cloudedge import __version__
from cloudedge.documents import Manifest, OutputFile, Result
from cloudedge.errors import WorkFailed
from cloudedge.files import atomic_write
from cloudedge.names import sha256_of
from edge.folders import Folders
from edge.messages import Job


def place_for(job: Job, file_name: str) -> Path:
    """Where a file goes that work makes."""
    return Folders(Path(job.state)).trained(job.order.id) / file_name


def deliver(job: Job, result: Result, seconds: float, files: Mapping[str, Path] | None = None) -> None:
    """Have the files of work that is done sent, and what came of it: the last thing that work does.

    Args:
        job: The work.
        result: What it came to.
        seconds: How long it took.
        files: What it made by the outputs' names, each where `place_for` has it.

    Raises:
        WorkFailed: these are not the order's outputs, or not where they belong.
        StoreFailed: the disk refuses.
    """
    _require_outputs(job, files or {})
    outputs = {
        name: OutputFile(file=path.name, sha256=sha256_of(path), size=path.stat().st_size)
        for name, path in (files or {}).items()
    }
    order = job.order
    manifest = Manifest(
        order=order.id, edge=order.edge, outputs=outputs, result=result, seconds=seconds, runner_version=__version__
    )
    atomic_write(Folders(Path(job.state)).manifest(order.id), manifest.to_json())


def _require_outputs(job: Job, files: Mapping[str, Path]) -> None:
    order, folders = job.order, Folders(Path(job.state))
    if not order.outputs.keys() - order.work.may_lack <= files.keys() <= order.outputs.keys():
        made, wanted = (", ".join(sorted(names)) or "none" for names in (files, order.outputs))
        raise WorkFailed(f"Work to {order.work.kind} has made the files {made}; its order's outputs are {wanted}. Make those.")
    for name, path in files.items():
        if path in (folders.manifest(order.id), folders.history(order.id)):
            raise WorkFailed(f"The output {name!r} may not be called {path.name}, as a file of the runner's. Rename it.")
        if path != place_for(job, path.name):
            raise WorkFailed(f"The output {name!r} is at {path}, where nothing is sent from. Write it where place_for has it.")
