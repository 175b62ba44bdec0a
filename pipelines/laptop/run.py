"""A whole run on this machine: one runner per edge, the pipeline in kfp's local engine, and MLflow on SQLite.

Nothing here outlives the Python that asked for it: every process that is started watches the one that started it.
"""

import os
import re
import shutil
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal

from cloud.entrypoints.carried import require_carried
from cloud.faults import Faults
from cloud.runs import events
from cloud.runs.closing import close_orders
from cloud.runs.lifecycle import create, reap
from cloud.runs.run import Run
from cloud.runs.state import OVER, error_of, set_state
from cloud.runs.step_records import RunState
from cloud.tracking import Relay
from cloudedge.documents import Task
from cloudedge.errors import EXIT_INTERRUPTED, CloudedgeError, InvalidInput, StoreFailed
from cloudedge.files import atomic_write
from cloudedge.names import IN_WORDS, NAME
from cloudedge.places import shown_path
from cloudedge.processes import Companion
from pipelines.laptop.data import Data
from pipelines.laptop.engine import LOG, Engine, pipeline_at_work
from pipelines.laptop.home import Home
from pipelines.laptop.kept import Kept
from pipelines.systems import System, system_of

_LEAST_FREE_BYTES = 1024 * 1024
"""With less the disk counts as full: edges would wait in silence for space, as their reports lie on the same disk."""

LOOK_SECONDS = 0.05
"""Time between two looks after a run."""

_RELAY_SECONDS = 2.0


def run_task(
    task: Task, data: Data, edges: int | None, kept: Kept, watch: Callable[[Run], None], compact: bool | None = None
) -> Run:
    """Run a task, or go on with it where it was.

    Args:
        task: What is asked for.
        data: The samples.
        edges: Number of edges to start; none: all that have samples.
        kept: What is at work already, and the home where everything is kept.
        watch: Called again and again meanwhile, to show what happens.
        compact: Whether the pipeline has as few tasks as it can; none: as suits this machine.

    Returns:
        The finished run.

    Raises:
        CloudedgeError: what made the run fail, with its exit code.
    """
    run = Run(kept.home.store, task.id)
    with home_alone(kept), closing(worked_on(task, data, edges, kept, compact)) as looks:
        for _ in looks:
            watch(run)
            time.sleep(LOOK_SECONDS)
    watch(run)
    return run


@contextmanager
def home_alone(kept: Kept) -> Iterator[None]:
    """Have a home for runs, and its MLflow for them.

    Raises:
        Conflict: somebody else has it.
    """
    with _no_other_mlflow(), kept.alone():
        yield


def worked_on(task: Task, data: Data, edges: int | None, kept: Kept, compact: bool | None = None) -> Generator[Run, None, None]:
    """Work on a task, or go on with it where it was, while the home is had alone; several can be worked on in turns.

    Args:
        task: What is asked for.
        data: The samples.
        edges: Number of edges to start; none: all that have samples.
        kept: What is at work already, and the home where everything is kept.
        compact: Whether the pipeline has as few tasks as it can; none: as suits this machine.

    Yields:
        The run, at each look. It is to be looked after again within moments; closed before its end, it is stopped.

    Raises:
        CloudedgeError: what made the run fail, with its exit code.
    """
    home, system = kept.home, system_of(task)
    paths = {"--data": str(data.folder), "--home": str(home.folder.absolute())}
    require_carried("A path", paths, here=True)
    run = Run(home.store, task.id)
    with kept.under_way(run.id), ExitStack() as stack:
        engine = None
        state = run.state()
        if state is None or state.state != "finished":
            engine = stack.enter_context(kept.engine(system))
            engine.prepare(home.logs(task.id) / LOG)  # It loads while the samples are looked at.
        arguments = system.arguments_at(data)
        folders = _chosen(system, task, data, edges)
        if folders:
            task = system.with_edges(task, tuple(sorted(folders)))
        task = system.form.as_carried(task)
        run.require_free_for(task)
        system.require_samples(run, task, data)
        create(run, task, "cloudedge run")
        _note_samples(home, run, data, finished=engine is None)
        for action, details in system.remarks(task, data, folders):
            events.record(home.store, run.id, "cloudedge run", action, **details)
        _reap_others(kept)
        relay = stack.enter_context(_relaying(home, run))
        if engine is not None and not _finished(run):
            with _orders_closed_at_a_stop(home, run):
                yield from _worked(task, arguments, folders, kept, engine, run, compact)
        relay.finish()
        while not relay.over:
            yield run
        relay.tell()


def require_runnable(task: Task, data: Data) -> None:
    """Make sure that there are the edges that a task names, and its samples.

    Raises:
        InvalidInput: there are not.
    """
    system = system_of(task)
    system.arguments_at(data)
    _chosen(system, task, data, None)


def _worked(
    task: Task,
    arguments: Mapping[str, Any],
    folders: dict[str, Path],
    kept: Kept,
    engine: Engine,
    run: Run,
    compact: bool | None,
) -> Iterator[Run]:
    home = kept.home
    for edge in folders:
        home.inboxes.enroll(edge)
    logs, root = home.logs(task.id), home.folder / "pipelines" / task.id
    with ExitStack() as stack:
        at_work = pipeline_at_work(engine, task, arguments, compact, run, logs, root, home.environment())
        pipeline = stack.enter_context(at_work)
        runners = stack.enter_context(kept.runners(run.id, folders)) if folders else None
        while not pipeline.over():
            kept.require_open()
            if runners:
                runners.keep_alive()
            require_space(home.folder)
            yield run


def _note_samples(home: Home, run: Run, data: Data, *, finished: bool) -> None:
    """Remember which samples a run is on, and tell whoever asks for a finished one with others that nobody looks at these."""
    note, folder = home.logs(run.id) / "samples.txt", str(data.folder)
    if not finished:
        atomic_write(note, folder.encode())
    elif note.exists() and (former := note.read_text("utf-8", errors="replace")) != folder:
        _say(
            f"Run {run.id} is finished, on the samples in {former}; those in {folder} are not looked at. For a run on these, "
            "give the task another id, or use another home."
        )


def _reap_others(kept: Kept) -> None:
    """Nobody else works in this home now, so other runs that seem to are dead, and no edge is to work on for them."""
    faults = Faults()
    home = kept.home
    list(reap(home.store, home.inboxes, "cloudedge run", silent_seconds=0, between_seconds=0, faults=faults, spare=kept.runs))
    faults.tell(_say)


def require_space(folder: Path, least_bytes: int = _LEAST_FREE_BYTES) -> None:
    """Make sure that there is room for a run to go on.

    Raises:
        StoreFailed: the disk is full.
    """
    if shutil.disk_usage(folder).free < least_bytes:
        raise StoreFailed(f"The disk that {folder} is on is full: free some space and start again; nothing is lost.")


def _chosen(system: System[Task], task: Task, data: Data, edges: int | None) -> dict[str, Path]:
    named = system.edges_of(task)
    if named is None:
        return {}
    folders = data.edges()
    missing = sorted(set(named) - set(folders))
    if missing:
        raise InvalidInput(
            f"The task names the edges {', '.join(missing)}, but {data.folder}/edges has no such folders, only: "
            f"{', '.join(folders) or 'none'}. Make them, or correct {system.edges_in_task} in the task."
        )
    names = list(named or folders)
    if edges is not None:
        if edges > len(names):
            raise InvalidInput(f"--edges is {edges}, but there are samples for {len(names)} edges in {data.folder}/edges.")
        if named and edges != len(named):
            raise InvalidInput(f"--edges is {edges}, but the task names {len(named)} edges: leave --edges out.")
        names = names[:edges]
    for name in names:
        if not re.fullmatch(NAME, name):
            raise InvalidInput(f"The folder {shown_path(folders[name])} has no name for an edge. Rename it: {IN_WORDS[NAME]}.")
    if not names:
        instead = f", or {system.instead_of_edges}" if system.instead_of_edges else ""
        raise InvalidInput(f"{data.folder}/edges has no folder: make one per edge with its samples{instead}.")
    return {name: folders[name] for name in names}


def _finished(run: Run) -> bool:
    state = run.state()
    if state and state.state == "cancelled":
        raise error_of(run.id, state)
    return state is not None and state.state == "finished"


@contextmanager
def _orders_closed_at_a_stop(home: Home, run: Run) -> Iterator[None]:
    try:
        yield
    except (KeyboardInterrupt, GeneratorExit):
        _end_run(home, run, "stopped", "Interrupted.", EXIT_INTERRUPTED)
        raise
    except CloudedgeError as error:
        state = run.state()
        if state is None or state.state == "running":  # No step could say it.
            _end_run(home, run, "failed", str(error), error.exit_code)
        raise


def _end_run(home: Home, run: Run, state: Literal["stopped", "failed"], message: str, exit_code: int) -> None:
    set_state(run, RunState(state=state, message=message, exit_code=exit_code, at=datetime.now(UTC)))
    faults = Faults()
    close_orders(home.inboxes, run.id, faults)
    faults.tell(_say)
    events.record(home.store, run.id, "cloudedge run", state, message=message)
    home.store.put(run.key("alive"), OVER)


def _say(fault: str) -> None:
    print(fault, file=sys.stderr)


@contextmanager
def _no_other_mlflow() -> Iterator[None]:
    """Leave out what the shell says of MLflow, here and in all that is started: the home has its own, and no run but ours."""
    former = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("MLFLOW_")}
    try:
        yield
    finally:
        os.environ.update(former)


class _Relaying:
    """Carries a run's figures to MLflow meanwhile, in a thread of its own."""

    def __init__(self, home: Home, run: Run) -> None:
        self._relay = Relay(home.store, run.id, home.tracking_uri, "cloudedge")
        self._run = run
        self._log = home.logs(run.id) / "mlflow.log"
        self._anew = not home.database.exists()  # Somebody may have removed it.
        self._no_more = threading.Event()
        self._fault: CloudedgeError | None = None
        self._companion = Companion(self._work, "relay")

    def finish(self) -> None:
        """Nothing more comes: send the rest."""
        self._no_more.set()

    @property
    def over(self) -> bool:
        """Whether all that there is has been sent, as far as MLflow takes it."""
        return self._companion.over

    def wait(self) -> None:
        """Wait until it is."""
        self._companion.wait()

    def tell(self) -> None:
        """Tell what MLflow did not take: who opens its pages now looks for the run in vain."""
        if self._fault:
            print(self._fault, file=sys.stderr)

    def _work(self) -> None:
        state = self._run.state()
        if state is None or state.state != "finished":
            _log_failure(self._relay.open, self._log)  # While there is nothing to send yet.
        while not self._no_more.wait(_RELAY_SECONDS):
            _log_failure(self._relay.push, self._log)
        self._fault = _log_failure(partial(self._relay.push, anew=self._anew), self._log)


@contextmanager
def _relaying(home: Home, run: Run) -> Iterator[_Relaying]:
    relaying = _Relaying(home, run)
    try:
        yield relaying
    except BaseException:
        relaying.finish()  # MLflow is to show how the run ended, too.
        relaying.wait()
        relaying.tell()
        raise


def _log_failure(action: Callable[[], object], log: Path) -> CloudedgeError | None:
    try:
        action()
    except CloudedgeError as error:
        # On a full disk, what cannot be logged must not stop the relay.
        with suppress(OSError), log.open("a", encoding="utf-8", errors="backslashreplace") as file:
            print(error, file=file)
        return error
    return None
