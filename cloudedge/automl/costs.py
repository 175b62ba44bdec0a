"""What a candidate costs on any device: multiplications, weights, and the memory of its activations."""

import math

from cloudedge.automl.layers import Convolution, Layers

_FLOAT_BYTES = 4


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


def _convolution(layer: Convolution) -> int:
    return layer.inputs * layer.outputs * layer.kernel**2 * layer.height * layer.width
