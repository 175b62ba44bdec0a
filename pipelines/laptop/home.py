"""The folder that everything of a laptop's runs lives in.

HOME/store/              the object store: runs, models, reports (the folders Q1 and Q4 are in it)
HOME/inboxes/<edge>/     what each edge's runner sees as its mounted inbox
HOME/edges/<edge>/       each runner's state: ledger, samples, received and trained models (folders Q2 and Q3)
HOME/mlflow.db           MLflow's database, and HOME/mlflow-artifacts/ its models
HOME/logs/<run>/         what the pipeline and the runners said
HOME/scratch/            checkpoints of pretraining
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cloud.inboxes import DirectoryInboxes
from cloud.tracking import address_of
from cloudedge.errors import Conflict
from cloudedge.files import disk_errors
from cloudedge.store import DirectoryStore

DEFAULT = Path("cloudedge-home")


class Home:
    """Paths of a laptop's runs, and what is found there."""

    def __init__(self, folder: Path) -> None:
        """Use a folder, which is made when first written to.

        Raises:
            InvalidInput: its name is one that MLflow cannot be told.
        """
        self.folder = folder.absolute()
        self.store = DirectoryStore(self.folder / "store")
        self.inboxes = DirectoryInboxes(self.folder / "inboxes")
        self.tracking_uri = address_of(self.database)

    @property
    def database(self) -> Path:
        """MLflow's database."""
        return self.folder / "mlflow.db"

    def edge_state(self, edge: str) -> Path:
        """State folder of an edge's runner."""
        return self.folder / "edges" / edge

    def logs(self, run: str) -> Path:
        """Folder of a run's logs, which is made.

        Raises:
            StoreFailed: it cannot be made.
        """
        folder = self.folder / "logs" / run
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        return folder

    def forget(self, run: str) -> None:
        """Remove what this machine has of a run beside the store: its logs, checkpoints and the pipeline's own files.

        Edges tidy up by themselves, and MLflow keeps what it was told.
        """
        for part in ("logs", "scratch", "pipelines"):
            folder = self.folder / part / run
            with disk_errors(folder), suppress(FileNotFoundError):
                shutil.rmtree(folder)

    def environment(self) -> dict[str, str]:
        """What pipeline steps find their surroundings by, whatever the shell knows of a cluster."""
        return {
            "CLOUDEDGE_STORE": self.store.root.as_uri(),
            "CLOUDEDGE_INBOXES": self.inboxes.root.as_uri(),
            "CLOUDEDGE_SCRATCH": str(self.folder / "scratch"),
            "CLOUDEDGE_POLL_SECONDS": "0.05",
            "CLOUDEDGE_TRACKING_URI": "",
            "CLOUDEDGE_REGISTRY_URI": self.tracking_uri,
        }

    def lock_state(self) -> tuple[int, int] | None:
        """What changes whenever somebody has this home alone, or removes it."""
        try:
            found = self._lock.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns

    def is_in_use(self) -> bool:
        """Whether somebody has this home alone just now."""
        try:
            with self._lock.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    @property
    def _lock(self) -> Path:
        return self.folder / ".lock"

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep a second engine out of this folder.

        Raises:
            Conflict: one is at work.
        """
        lock = self._lock
        with disk_errors(lock):
            self.folder.mkdir(parents=True, exist_ok=True)
            file = lock.open("a+")
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                raise Conflict(
                    f"Process {file.read().strip() or '?'} is running a task in {self.folder} already: "
                    "wait for it, end it with Ctrl-C, or use another --home."
                ) from None
            with disk_errors(lock):
                file.truncate(0)
                file.write(str(os.getpid()))
                file.flush()
            yield
