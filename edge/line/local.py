"""The edge server as a place where models are deployed, beside its detectors: it answers by them itself.

Nothing is watched here: it is asked by others and inspects no part, so that there is no reject rate to go by.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from cloudedge.documents.line import Deployment, DeploymentState, Wanted
from cloudedge.errors import CloudedgeError, NotFound
from cloudedge.serving.models import Models

_log = logging.getLogger(__name__)

_MOST_STATES = 8


class Local:
    """Does what is wanted of the edge server itself."""

    def __init__(self, folder: Path, model: Callable[[str], Path], changed: Callable[[], None]) -> None:
        """Load what was in use.

        Args:
            folder: Where its models are.
            model: Where the file of a digest is.
            changed: Called whenever a deployment stands in another way; from any thread.

        Raises:
            StoreFailed: the disk refuses.
            Conflict: another process has the models.
        """
        self.models = Models(folder)
        self._model = model
        self._changed = changed
        self._lock = threading.Lock()
        self._states: dict[str, DeploymentState] = {}

    def follow(self, wanted: Wanted, known: Mapping[str, DeploymentState | None]) -> list[str]:
        """Begin what is wanted and was not begun yet; returns the ids of rollbacks that are done.

        Args:
            wanted: All that is wanted.
            known: How its deployments stood before this process began.
        """
        for asked in wanted.deployments:
            former = known.get(asked.id)
            if asked.id not in self._states and not (former is not None and former.over):
                self._say(DeploymentState(id=asked.id, brand=asked.brand, sha256=asked.deployable.sha256, phase="loading"))
                threading.Thread(target=self._deploy, args=(asked,), name=f"deploy-{asked.brand}", daemon=True).start()
        for rollback in wanted.rollbacks:
            current = self.models.current(rollback.brand)
            if current is not None and rollback.sha256 in ("", current.deployable.sha256):
                try:
                    self.models.rollback(rollback.brand)
                except NotFound as error:
                    _log.warning("%s", error)
        return [rollback.id for rollback in wanted.rollbacks]

    def states(self) -> tuple[DeploymentState, ...]:
        """How the newest deployments stand, oldest first."""
        with self._lock:
            return tuple(self._states.values())[-_MOST_STATES:]

    def close(self) -> None:
        """Load nothing more."""
        self.models.close()

    def _deploy(self, asked: Deployment) -> None:
        def step(done: int, total: int) -> None:
            self._say(self._states[asked.id].model_copy(update={"loaded": done, "load_total": total}))

        begun = time.monotonic()
        size = asked.deployable.size
        try:
            version = self.models.put(asked.deployable, self._model(asked.deployable.sha256), asked.brand)
            self.models.load(asked.brand, version, step).result()
            changed: dict[str, object] = {"phase": "serving", "load_seconds": time.monotonic() - begun}
        except CloudedgeError as error:
            changed = {"phase": "failed", "reason": str(error)[:2000]}
        except Exception as error:  # Of a model's file anything may come.
            _log.exception("deployment %s", asked.id)
            changed = {"phase": "failed", "reason": f"{type(error).__name__}: {error}"[:2000]}
        self._say(self._states[asked.id].model_copy(update={"transferred": size, "transfer_total": size, **changed}))

    def _say(self, state: DeploymentState) -> None:
        with self._lock:
            self._states[state.id] = state
        self._changed()
