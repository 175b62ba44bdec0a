"""One fusion at work: opened models, from which averages, combinations and optimizer steps are written."""

import math
import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from cloud.fusion.blocks import Average, Combination, ServerStep, memory_name, memory_type, optimized, stacked
from cloud.fusion.rule import Contribution, CoordinateWise, ServerOptimizer
from cloud.fusion.streaming import Array, Block, Buffers, Models, Output, blocks, spans, walk
from cloudedge.errors import InvalidInput
from cloudedge.files import TEMPORARY, atomic_place
from cloudedge.weights import FLOATING, TensorInfo, canonical_header, check_layout

STACK_BYTES = 4 * 1024 * 1024
"""Memory of a thread for one block of all models at once, which coordinate-wise rules and distances need."""

LEAST_STACKED_BYTES = 1024
"""No less is read of a model at a time; from 4096 models on the memory for them grows."""


class Fusing:
    """The models of one fusion. To averaging rules it is their `Candidates`.

    Attributes:
        contributions: The edges' models, in the order of the opened files after the base.
        bytes_read: Bytes of models read so far.
    """

    def __init__(
        self,
        models: Models,
        contributions: Sequence[Contribution],
        base_weight: float,
        folder: Path,
        score: Callable[[Path], float] | None = None,
    ) -> None:
        """Begin a fusion.

        Args:
            models: The base model and, after it, the contributions' models.
            contributions: The contributions.
            base_weight: Share of the base model in every average, 0 to 1.
            folder: An existing folder for candidates that are measured.
            score: Measures the held-out accuracy of a model file.
        """
        self.contributions = contributions
        self.bytes_read = 0
        self._base, *self._files = models.files
        self._base_weight = base_weight
        self._folder = folder
        self._score = score
        self._header, self._encoded = canonical_header(self._base.header.tensors, self._base.header.metadata)
        self._layouts = [self._header, *models.layouts]

    @property
    def integers(self) -> list[str]:
        """Names of the tensors that hold none but integers or truth values, sorted."""
        return sorted(name for name, info in self._header.tensors.items() if info.dtype not in FLOATING)

    def shares(self, rule: str, weights: Sequence[float]) -> list[float]:
        """Shares in the average that a rule's weights mean: the base model's first, summing to 1.

        Raises:
            InvalidInput: a weight is below 0 or not finite.
        """
        if not all(math.isfinite(weight) and weight >= 0 for weight in weights):
            raise InvalidInput(f"The rule {rule!r} gives the weights {list(weights)}: each must be finite and at least 0.")
        total = sum(weights)
        if total == 0:
            return [1.0, *weights]
        return [self._base_weight, *((1 - self._base_weight) * (weight / total) for weight in weights)]

    def score(self, weights: Sequence[float]) -> float:
        """Held-out accuracy of the model that these weights give; of the base model if all are 0.

        Raises:
            InvalidInput: nobody can measure accuracy here.
        """
        if self._score is None:
            raise InvalidInput(
                "This fusion rule tries candidates on held-out samples, and there are none here: "
                "give the cloud's samples, or use another rule, for example 'samples'."
            )
        if not any(weights):
            return self._score(self._base.path)
        with tempfile.TemporaryDirectory(prefix=TEMPORARY, dir=self._folder) as folder:
            candidate = Path(folder) / "candidate.safetensors"
            self.average(self.shares("greedy", weights), candidate)
            return self._score(candidate)

    def squared_distances(self) -> npt.NDArray[np.float64]:
        """Squared Euclidean distances between the contributions, shape (contributions, contributions)."""
        products = np.zeros((len(self._files), len(self._files)))

        def add(block: Block, buffers: Buffers) -> None:
            stack = stacked(self._files, block, buffers)
            base = buffers.take("base", block.count, stack.dtype)
            buffers.read(self._base, block, base)
            # Distances are the same from anywhere; from the base, little is lost to rounding.
            changes = np.subtract(stack, base, dtype=np.float64)
            np.add(products, changes @ changes.T, out=products)

        floating = [span for span in spans(self._layouts) if span.dtype in FLOATING]
        self.bytes_read += walk(blocks(floating, self._stacked_bytes()), add, threads=1)
        squares = products.diagonal()
        with np.errstate(invalid="ignore"):
            found = squares[:, None] + squares[None, :] - 2 * products
        # What is too far away to be computed is as far as can be, and nobody's neighbour.
        return np.maximum(np.nan_to_num(found, nan=np.inf), 0)

    def average(self, shares: Sequence[float], path: Path) -> None:
        """Write the average with these shares, the base model's first."""
        average = Average.of([self._base, *self._files], shares)
        self._write(path, blocks(spans(self._layouts)), average.block)

    def combine(self, rule: CoordinateWise[Any], setting: Any, path: Path) -> None:
        """Write what a coordinate-wise rule makes of the contributions."""
        samples = [contribution.samples for contribution in self.contributions]
        largest = self._files[samples.index(max(samples))]
        combination = Combination(rule, setting, self._base, self._base_weight, self._files, largest)
        self._write(path, blocks(spans(self._layouts), self._stacked_bytes()), combination.block)

    def take_step(
        self,
        rule: ServerOptimizer[Any],
        setting: Any,
        shares: Sequence[float],
        path: Path,
        state: Path | None,
        next_state: Path | None,
    ) -> None:
        """Write the base model after an optimizer's step towards the average, and before it what the optimizer remembers.

        Raises:
            InvalidModel: `state` is not what this rule remembers of this model.
        """
        average = Average.of([self._base, *self._files], shares)
        remembered = {
            memory_name(slot, name): TensorInfo(memory_type(info.dtype), info.shape)
            for slot in rule.memory(setting)
            for name, info in self._header.tensors.items()
            if optimized(name, info.dtype)
        }
        pieces = list(blocks(spans(self._layouts, merge=False)))
        with ExitStack() as stack:
            memory = None
            if state is not None:
                (memory,) = stack.enter_context(Models([state])).files
                check_layout(f"The optimizer's state {state.name}", memory.header.tensors, remembered)
            if next_state is None:
                self._write(path, pieces, ServerStep(rule, setting, self._base, average, memory, None).block)
                return
            header, encoded = canonical_header(remembered, {})

            def write_both(fused: BinaryIO) -> None:
                def write(file: BinaryIO) -> None:
                    _begin(file, encoded)
                    step = ServerStep(rule, setting, self._base, average, memory, Output(file.fileno(), header))
                    self._fill(fused, pieces, step.block)

                atomic_place(next_state, write)

            atomic_place(path, write_both)

    def _stacked_bytes(self) -> int:
        return max(STACK_BYTES // len(self._files), LEAST_STACKED_BYTES)

    def _write(self, path: Path, pieces: Iterable[Block], compute: Callable[[Block, Buffers], Array]) -> None:
        atomic_place(path, lambda file: self._fill(file, pieces, compute))

    def _fill(self, file: BinaryIO, pieces: Iterable[Block], compute: Callable[[Block, Buffers], Array]) -> None:
        _begin(file, self._encoded)
        output = Output(file.fileno(), self._header)
        self.bytes_read += walk(pieces, lambda block, buffers: output.write(block, compute(block, buffers)))


def _begin(file: BinaryIO, encoded: bytes) -> None:
    file.write(encoded)
    # The blocks are written by position, past Python's buffer.
    file.flush()
