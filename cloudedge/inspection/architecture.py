"""EfficientNet-Lite0 in numbers: its blocks, and how its convolutions are padded.

Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019, in the variant for edge
devices: ReLU6 for swish, no squeeze-and-excitation.
"""

from typing import NamedTuple


class Block(NamedTuple):
    """An inverted residual.

    Attributes:
        stage: Which of the seven stages it is part of, counted from 1.
        inputs: Channels that come in.
        outputs: Channels that go out.
        expansion: Factor between the channels that come in and those of its depthwise convolution.
        kernel: Height and width of that convolution's windows.
        stride: Its stride.
    """

    stage: int
    inputs: int
    outputs: int
    expansion: int
    kernel: int
    stride: int

    @property
    def skips(self) -> bool:
        """Whether what comes in is added to what goes out."""
        return self.stride == 1 and self.inputs == self.outputs


_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
"""Blocks, kernel, stride of the first, expansion, channels."""

_EARLY = 5
"""Stage whose features are taken after its first block."""

STAGES = len(_STAGES)
STEM = 32
"""Channels of the first convolution, whose stride is 2."""

EPSILON = 1e-3
"""Of batch normalisation."""


def _blocks() -> tuple[Block, ...]:
    blocks, inputs = [], STEM
    for stage, (number, kernel, stride, expansion, outputs) in enumerate(_STAGES, start=1):
        for place in range(number):
            blocks.append(Block(stage, inputs, outputs, expansion, kernel, stride if place == 0 else 1))
            inputs = outputs
    return tuple(blocks)


BLOCKS = _blocks()
"""All of them, in their order."""


def features_after(stage: int) -> int:
    """Number of the block after which a stage's features are taken, counted from 0; -1: the stem.

    It is the stage's last, and of the fifth its first. That one's others, of equal channels and size, are a fifth of the time
    to there and tell no more: on brick, areas under the ROC curve of .934 and .884 (image, pixel), and of .937 and .885.
    """
    own = [number for number, block in enumerate(BLOCKS) if block.stage == stage]
    return -1 if not own else own[0] if stage == _EARLY else own[-1]


def channels(stage: int) -> int:
    """Channels of a stage's features; stage 0 is the stem."""
    return _STAGES[stage - 1][4] if stage else STEM


def size_at(size: int, stage: int) -> int:
    """Height or width of a stage's features, of images of this height or width."""
    size = -(-size // 2)
    for block in BLOCKS:
        if block.stage <= stage:
            size = -(-size // block.stride)
    return size


def padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Places before and after, so that a convolution gives ceil(size / stride): TensorFlow's SAME."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2
