"""How long a network takes on this device."""

import statistics
import tempfile
import time
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cloudedge.deployable.checking import described
from cloudedge.deployable.session import NUMPY_TYPES, Session
from cloudedge.documents.deployable import Deployable
from cloudedge.files import disk_errors

ROUND_SECONDS = 0.02
"""How long a round of inferences takes, where one takes no longer; some are enough to see whether two agree."""

_AGREEING = 1.01
"""Two rounds agree where their medians differ by no larger factor: then nothing else had the processor meanwhile."""

_LEAST_ROUNDS, _MOST_ROUNDS = 3, 20
_LEAST_RUNS, _MOST_RUNS = 3, 2000
_BUSY_ROUNDS = 8
_BUSY_QUANTILE = 0.95


class Times(NamedTuple):
    """Of one inference after the other, in milliseconds.

    Attributes:
        median: In the quietest round.
        computing: The same of the time that the processor spent on it, which nothing else at work on the device lengthens;
            where an inference computes with several threads, the median.
        most: Not exceeded by 95% of all.
        all: Each.
    """

    median: float
    computing: float
    most: float
    all: npt.NDArray[np.float64]


class Measured:
    """A network that is loaded to be measured."""

    def __init__(self, content: bytes, threads: int = 1) -> None:
        """Load it as a detector would, and run it until its memory is there.

        Args:
            content: The ONNX file.
            threads: That one inference computes with.

        Raises:
            InvalidModel: it is no network that may be deployed.
            WorkFailed: it cannot be run, or takes longer than a minute.
            StoreFailed: the disk refuses.
        """
        with ExitStack() as stack:
            with disk_errors(tempfile.gettempdir()):
                path = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cloudedge-measured-"))) / "model.onnx"
                path.write_bytes(content)
            inputs, outputs = described(path)
            digest = sha256(content).hexdigest()
            deployable = Deployable(name="measured", sha256=digest, size=len(content), inputs=inputs, outputs=outputs)
            self._session = Session(path, deployable, threads)
        self._threads = threads
        chance = np.random.default_rng(0)
        self._inputs: dict[str, npt.NDArray[Any]] = {
            each.name: chance.integers(0, 255, (1, *each.shape[1:])).astype(NUMPY_TYPES[each.datatype]) for each in inputs
        }
        self._session.warm_up()
        self.run(2)

    def alone(self) -> Times:
        """Its times with the processor to itself: rounds are repeated until two of them agree, or there were enough."""
        return self._times(_LEAST_ROUNDS, _MOST_ROUNDS)

    def beside(self) -> Times:
        """Its times beside whatever is at work now."""
        return self._times(_BUSY_ROUNDS, _BUSY_ROUNDS)

    def run(self, runs: int) -> npt.NDArray[np.float64]:
        """Milliseconds of some inferences, one after the other: those that passed, and those of the processor (2, runs)."""
        found = np.empty((2, runs))
        for number in range(runs):
            began, began_computing = time.perf_counter(), time.thread_time()
            self._session.infer(self._inputs)
            found[:, number] = time.perf_counter() - began, time.thread_time() - began_computing
        return found * 1000

    def _times(self, least_rounds: int, most_rounds: int) -> Times:
        runs = self._runs()
        rounds: list[npt.NDArray[np.float64]] = []
        medians: list[npt.NDArray[np.float64]] = []
        while len(rounds) < most_rounds:
            rounds.append(self.run(runs))
            medians.append(np.median(rounds[-1], axis=1))
            first, second = sorted(each[self._decides] for each in medians)[:2] if len(medians) > 1 else (0.0, 1.0)
            if len(rounds) >= least_rounds and second <= first * _AGREEING:
                break
        passed = np.concatenate([each[0] for each in rounds])
        quietest = np.min(medians, axis=0)
        return Times(float(quietest[0]), float(quietest[self._decides]), float(np.quantile(passed, _BUSY_QUANTILE)), passed)

    @property
    def _decides(self) -> int:
        """Of the two times that which is compared: the processor's, where it is that of this thread alone."""
        return 1 if self._threads == 1 else 0

    def _runs(self) -> int:
        """Inferences in a round."""
        one = statistics.median(self.run(3)[0]) / 1000
        return int(np.clip(ROUND_SECONDS / max(one, 1e-9), _LEAST_RUNS, _MOST_RUNS))
