"""How one block of the fused model is computed from the same block of all models."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cloud.fusion.rule import CoordinateWise, ServerOptimizer
from cloud.fusion.streaming import Array, Block, Buffers, ModelFile, Output, Span, computed_type
from cloudedge.weights import FLOATING

NORMALISATION = ("running_mean", "running_var")
"""How the names of statistics end that normalisation layers collect. Nobody's gradient moves them, so a server optimizer
must not either: a variance could become negative. They are averaged."""


@dataclass(frozen=True)
class Average:
    """A weighted average, summed in a fixed order.

    Two passes over a block in the cache for each model (multiply, add) are what numpy can do least, and both round as IEEE
    754 says, so that the bytes are the same on every processor.

    Attributes:
        models: The models with a weight above 0, in the order of summation, and their weights, which sum to 1.
        heaviest: The model of the largest weight. Integers, which cannot be averaged, are taken from it.
    """

    models: Sequence[tuple[ModelFile, float]]
    heaviest: ModelFile

    @staticmethod
    def of(files: Sequence[ModelFile], weights: Sequence[float]) -> "Average":
        """The average with these weights, which sum to 1; a file of weight 0 is not read."""
        heaviest = max(range(len(files)), key=lambda i: weights[i])
        weighted = [(file, weight) for file, weight in zip(files, weights, strict=True) if weight > 0]
        return Average(weighted, files[heaviest])

    def block(self, block: Block, buffers: Buffers) -> Array:
        """The averaged block, shape (count,), in a buffer."""
        kind = computed_type(block.span.dtype)
        total = buffers.take("total", block.count, kind)
        if block.span.dtype not in FLOATING or len(self.models) == 1:
            buffers.read(self.heaviest, block, total)
            return total
        values = buffers.take("values", block.count, kind)
        for number, (file, weight) in enumerate(self.models):
            buffers.read(file, block, values)
            if number == 0:
                np.multiply(values, weight, out=total)
            else:
                np.multiply(values, weight, out=values)
                np.add(total, values, out=total)
        return total


@dataclass(frozen=True)
class Combination:
    """What a coordinate-wise rule makes of all models, mixed with the base model.

    Attributes:
        rule: The rule.
        setting: Its setting.
        base: The base model.
        base_weight: Its share, 0 to 1.
        files: The contributions.
        largest: The contribution that integers are taken from.
    """

    rule: CoordinateWise[Any]
    setting: Any
    base: ModelFile
    base_weight: float
    files: Sequence[ModelFile]
    largest: ModelFile

    def block(self, block: Block, buffers: Buffers) -> Array:
        """The combined block, shape (count,)."""
        kind = computed_type(block.span.dtype)
        if block.span.dtype not in FLOATING:
            values = buffers.take("values", block.count, kind)
            buffers.read(self.largest, block, values)
            return values
        combined: Array = self.rule.combine(stacked(self.files, block, buffers), self.setting)
        if self.base_weight == 0:
            return combined
        base = buffers.take("base", block.count, kind)
        buffers.read(self.base, block, base)
        return base - (1 - self.base_weight) * (base - combined)


@dataclass(frozen=True)
class ServerStep:
    """The step of a server optimizer, from the base model.

    Attributes:
        rule: The rule.
        setting: Its setting.
        base: The base model.
        average: The contributions' average.
        memory: What the last round remembered; none before the first.
        next_memory: Where this round's memory is written; None to forget it.
    """

    rule: ServerOptimizer[Any]
    setting: Any
    base: ModelFile
    average: Average
    memory: ModelFile | None
    next_memory: Output | None

    def block(self, block: Block, buffers: Buffers) -> Array:
        """The block after the step, shape (count,); writes the block's memory."""
        average = self.average.block(block, buffers)
        if not optimized(block.span.name, block.span.dtype):
            return average
        base = buffers.take("base", block.count, average.dtype)
        buffers.read(self.base, block, base)
        memory = {}
        for slot, initial in self.rule.memory(self.setting).items():
            memory[slot] = buffers.take(slot, block.count, average.dtype)
            if self.memory is None:
                memory[slot].fill(initial)
            else:
                buffers.read(self.memory, memory_block(slot, block), memory[slot])
        fused, memory_now = self.rule.step(base, average - base, memory, self.setting)
        if self.next_memory is not None:
            for slot, values in memory_now.items():
                self.next_memory.write(memory_block(slot, block), values)
        return fused


def optimized(name: str, dtype: str) -> bool:
    """Whether a server optimizer moves this tensor."""
    return dtype in FLOATING and not name.endswith(NORMALISATION)


def memory_type(dtype: str) -> str:
    """The type in which a server optimizer remembers a tensor: the one that it is computed in."""
    return "F64" if dtype == "F64" else "F32"


def memory_name(slot: str, tensor: str) -> str:
    """Name of a tensor's memory in the optimizer's file."""
    return f"{slot}.{tensor}"


def memory_block(slot: str, block: Block) -> Block:
    """The piece of the optimizer's file that belongs to a block of the model."""
    span = Span(memory_name(slot, block.span.name), memory_type(block.span.dtype), block.span.count)
    return Block(span, block.start, block.count)


def stacked(files: Sequence[ModelFile], block: Block, buffers: Buffers) -> Array:
    """A block of all models, shape (models, count), in a buffer."""
    stack = buffers.take("stack", (len(files), block.count), computed_type(block.span.dtype))
    for row, file in zip(stack, files, strict=True):
        buffers.read(file, block, row)
    return stack
