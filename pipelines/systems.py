"""What a system is to the command line, to the places where it runs, and to whoever looks at its runs."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal

from cloud.entrypoints.form import Form, form_of
from cloud.runs.run import Run
from cloudedge.documents import Task
from cloudedge.documents.task import TaskT
from cloudedge.documents.tasks import SYSTEMS, package_of, part_of, systems
from cloudedge.errors import NotFound
from cloudedge.files import disk_errors
from pipelines.frames import Frames

if TYPE_CHECKING:
    from rich.console import Console

    from pipelines.dag import FormShape
    from pipelines.laptop.data import Data

Place = Literal["laptop", "kubeflow"]
"""Where a pipeline runs."""


@dataclass(frozen=True)
class Demo(ABC, Generic[TaskT]):
    """A system's demo: real data, and a task for it.

    Attributes:
        name: Of its data and its task's file.
        edges: Number of edges, where nobody names another.
    """

    name: str
    edges: int

    @abstractmethod
    def task(self, edges: int) -> TaskT:
        """The task, for so many edges.

        Raises:
            InvalidInput: the data is not enough for so many edges.
        """

    @abstractmethod
    def write_data(self, folder: Path, edges: int) -> None:
        """Lay out the data as `cloudedge run --data` reads it, the cloud's last.

        Raises:
            InvalidInput: the data is not enough for so many edges.
            StoreFailed: the disk does not take them.
        """

    def folder(self, home: Path, edges: int | None) -> Path:
        """Its data in a home, which is laid out if it is not there.

        Args:
            home: The home.
            edges: Number of edges; none: its own.

        Raises:
            InvalidInput: the data is not enough for so many edges.
            StoreFailed: the disk does not take it.
        """
        count = edges or self.edges
        found = home / "data" / f"{self.name}-{count}"
        if not (found / "cloud").exists():
            self.write_data(found, count)
        return found

    @abstractmethod
    def suits(self, task: TaskT) -> bool:
        """Whether a task is about this data."""


class System(ABC, Generic[TaskT]):
    """A system; each has one as `SYSTEM` in its module `system`.

    Attributes:
        document: What its tasks are.
        modules: What its pipelines' tasks import, loaded once on a laptop for all of them.
        edges_in_task: Where a task names its edges.
        instead_of_edges: How a task does without any; empty: it does not.
        curve: What the figures of `newest` are, for people; empty: there are none.
        demo: Its demo, if it has one.
        reads_samples: Whether its steps or edges read samples.
    """

    document: type[TaskT]
    modules: tuple[str, ...] = ()
    edges_in_task: str = "edges"
    instead_of_edges: str = ""
    curve: str = ""
    demo: Demo[TaskT] | None = None
    reads_samples: bool = True

    @property
    def frames(self) -> Frames:
        """What its runs measured, as DataFrames."""
        return Frames()

    @cached_property
    def form(self) -> Form[TaskT]:
        """The form of its tasks."""
        return form_of(self.document)

    def in_words(self, task: TaskT) -> str:
        """What a task asks for, in a few words."""
        return task.kind

    def check(self, task: TaskT) -> None:
        """Find what the document's form cannot know, such as names of what there is none of.

        Raises:
            InvalidInput: says all that is wrong.
        """
        self.form.values_of(task)

    def demo_data(self, task: TaskT, home: Path, edges: int | None) -> Path | None:
        """Folder of the demo's samples in a home, laid out if it is not there; None: a task is about other samples.

        Of a system that reads none it is an empty one.

        Args:
            task: The task.
            home: The home.
            edges: Number of edges; none: as many as the task names, or as the demo has.

        Raises:
            InvalidInput: the samples are not enough for so many edges.
            StoreFailed: the disk does not take them.
        """
        if not self.reads_samples:
            empty = home / "data" / "no-samples"
            with disk_errors(empty):
                for folder in (empty, *(empty / "edges" / edge for edge in self.edges_of(task) or ())):
                    folder.mkdir(parents=True, exist_ok=True)
            return empty
        if self.demo is None or not self.demo.suits(task):
            return None
        return self.demo.folder(home, edges or len(self.edges_of(task) or ()) or None)

    @abstractmethod
    def pipeline(self, task: TaskT, place: Place, compact: bool | None = None, shape: "FormShape" = "fields") -> Any:
        """The pipeline that runs a task.

        Args:
            task: What is asked for.
            place: Where it is to run.
            compact: Whether it has as few tasks as it can; none: as suits the place.
            shape: Of its form.
        """

    def packages(self) -> Mapping[str, Any]:
        """Its pipelines whose packages are kept beside their source, by name."""
        return {}

    def arguments(self, cloud_data: str, test_data: str) -> dict[str, Any]:
        """What its pipelines ask for beside a task.

        Args:
            cloud_data: Where the cloud's samples are, as a step reads it; empty: nobody said so.
            test_data: Where samples are that nobody trains on, or an empty text.

        Raises:
            InvalidInput: something of it is missing.
        """
        del cloud_data, test_data
        return {}

    def arguments_at(self, data: "Data") -> dict[str, Any]:
        """The same for samples on this machine.

        Raises:
            InvalidInput: a folder is missing.
        """
        return self.arguments(str(data.cloud), data.test)

    @abstractmethod
    def edges_of(self, task: TaskT) -> Collection[str] | None:
        """The edges that a task names; empty: all; None: no edge takes part."""

    @abstractmethod
    def with_edges(self, task: TaskT, edges: tuple[str, ...]) -> TaskT:
        """The task with these edges.

        Raises:
            InvalidInput: it does not suit them.
        """

    def require_samples(self, run: Run, task: TaskT, data: "Data") -> None:  # A system may need none.
        """Make sure that what its steps and edges read on this machine is there, before any of them begins.

        Raises:
            CloudedgeError: it is not, or does not fit the task.
        """

    def remarks(self, task: TaskT, data: "Data", folders: Mapping[str, Path]) -> Iterator[tuple[str, dict[str, Any]]]:
        """What is to be said of the samples on this machine, as operations with their details.

        Args:
            task: What is asked for.
            data: The samples.
            folders: Folder of samples by edge.
        """
        del task, data, folders
        return iter(())

    def sentence(self, action: str, details: Mapping[str, Any]) -> str:
        """An operation of its own in words; empty if it is none that people want to know at once."""
        del action, details
        return ""

    def newest(self, run: Run) -> dict[int, float]:
        """The newest points of its curve, by round; what is shown before them is kept."""
        del run
        return {}

    def overview(self, run: Run, task: TaskT) -> dict[str, Any]:
        """What one line says of a run: rounds, and the accuracy before and after, as far as it has such."""
        del run, task
        return {"rounds": None, "pretrained": None, "fused": None}

    def summary(self, run: Run) -> dict[str, Any]:
        """What came of a run, for programs."""
        del run
        return {}

    def print_outcome(self, console: "Console", run: Run) -> None:  # The report says the same.
        """Print what a finished run brought."""


def system_named(name: str) -> System[Task]:
    """A system.

    Raises:
        NotFound: there is none of this name.
        InvalidInput: a user's package that is this system cannot be loaded.
    """
    found: System[Task]
    if name in SYSTEMS:
        found = import_module(f"pipelines.{SYSTEMS[name]}.system").SYSTEM
    elif package_of(name):
        found = part_of(name, "system", "SYSTEM", System)
    else:
        raise NotFound(f"There is no system {name!r}; there are: {', '.join(systems())}.")
    return found


def system_of(task: Task) -> System[Task]:
    """The system that a task is for.

    Raises:
        InvalidInput: a user's package that is this system cannot be loaded.
    """
    return system_named(task.kind)
