"""What a candidate costs on any device: multiplications, weights, the memory of its activations, and that of its training."""

import math

from cloudedge.automl.layers import Convolution, Layers
from cloudedge.documents import Training

_FLOAT_BYTES = 4

_FIRST_TRAINING_BYTES = 12 * 1024 * 1024
"""What PyTorch takes for the first training in a process, whatever is trained; its code not counted, which can make room."""

_REMEMBERED = {"sgd": 0, "momentum": 1, "adam": 2, "adamw": 2}
"""Numbers that an optimizer remembers of each weight."""

_KEPT = 4
"""Copies of the weights beside these: weights, gradients, the best so far, and those that are written."""

_BLOCK = 16
"""Channels are computed in blocks of so many, in copies of their own: of fewer, the rest is filled up."""


def multiplications(layers: Layers) -> list[int]:
    """Multiply-accumulate operations (MACs) of one sample: of each convolution, and of averaging and the linear layer."""
    last = layers.features * layers.classes
    if layers.grid != layers.size:
        last += layers.features * math.prod(layers.size)
    return [_convolution(each) for each in layers.convolutions] + [last]


def weights(layers: Layers) -> int:
    """Numbers that the candidate has learned, its normalisation taken into its convolutions."""
    convolutions = sum(each.outputs * (each.inputs * each.kernel**2 + 1) for each in layers.convolutions)
    return convolutions + (layers.features + 1) * layers.classes


def activations(layers: Layers) -> int:
    """Numbers that are there at once while one sample is computed: the largest input and output of one operation.

    Lin et al., "MCUNet: Tiny Deep Learning on IoT Devices", NeurIPS 2020, whose peak is that of adjacent tensors.
    """
    sizes = []
    for each in layers.convolutions:
        before, convolved = (channels * each.height * each.width for channels in (each.inputs, each.outputs))
        sizes += [before + convolved, convolved + (convolved // 4 if each.pooled else 0)]
    return max(sizes)


def memory_bytes(layers: Layers) -> int:
    """Weights, and the largest activations that are there at once, in bytes."""
    return _FLOAT_BYTES * (weights(layers) + activations(layers))


def training_bytes(layers: Layers, training: Training, batch: int, measured: int) -> int:
    """Most memory of a training on the CPU, beyond that of a process that has PyTorch loaded, in bytes.

    Either a batch goes forward and backward, all activations kept, or held-out samples go forward. Of 79 trainings, of images
    from 16 x 16 to 3 x 128 x 128 in batches of 16 to 64, half took less than 0.8 times that and nine in ten 0.53 to 1.21 times;
    three took 1.7 times, as the C library kept for later what was free.

    Args:
        layers: Of the candidate.
        training: How it is trained.
        batch: Samples of a batch.
        measured: Held-out samples that go forward at once.
    """
    kept = gone = forward = 0
    for each in layers.convolutions:
        places = each.height * each.width
        before, behind = each.inputs * places, each.outputs * places
        blocks = (_filled(each.inputs) + _filled(each.outputs)) * places
        # What is convolved, normalised and cut off; and where it is pooled, a quarter of that with places of 8 bytes.
        kept += before + 3 * behind + (behind // 2 if each.pooled else 0)
        gone = max(gone, 2 * behind + blocks)
        forward = max(forward, before + behind + blocks, 3 * behind)
    numbers = max(batch * (kept + gone), measured * forward) + weights(layers) * (_KEPT + _REMEMBERED[training.optimizer])
    return _FIRST_TRAINING_BYTES + _FLOAT_BYTES * numbers


def _filled(channels: int) -> int:
    return math.ceil(channels / _BLOCK) * _BLOCK


def _convolution(layer: Convolution) -> int:
    return layer.inputs * layer.outputs * layer.kernel**2 * layer.height * layer.width
