"""A small model with every kind of tensor that files of models are tested with."""

import torch

TYPES = (
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
    torch.uint8,
    torch.uint16,
    torch.uint32,
    torch.uint64,
    torch.bool,
)


def a_model() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(7)
    return {
        "weight": torch.randn(30, 20, generator=generator),
        "bias": torch.randn(20, generator=generator),
        "half": torch.randn(5, generator=generator).half(),
        "brain": torch.randn(5, generator=generator).bfloat16(),
        "double": torch.randn(5, generator=generator).double(),
        "count": torch.tensor(3),
        "empty": torch.zeros(0, 4),
    }
