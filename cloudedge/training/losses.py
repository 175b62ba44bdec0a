"""Losses by name. Each takes logits [n, classes] and the indices of the classes [n], and gives the mean over the batch, [].

Label smoothing: Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", CVPR 2016, section 7.
Focal: Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017.
Mean squared error on logits: Hui and Belkin, "Evaluation of Neural Architectures Trained with Square Loss vs Cross-Entropy in
Classification Tasks", ICLR 2021.
"""

from collections.abc import Callable, Mapping

from torch import Tensor
from torch.nn import functional

Loss = Callable[[Tensor, Tensor], Tensor]

_SMOOTHING = 0.1
_GAMMA = 2


def _label_smoothing(logits: Tensor, labels: Tensor) -> Tensor:
    return functional.cross_entropy(logits, labels, label_smoothing=_SMOOTHING)


def _focal(logits: Tensor, labels: Tensor) -> Tensor:
    log_probability = functional.log_softmax(logits, dim=1).gather(1, labels[:, None])
    return ((1 - log_probability.exp()) ** _GAMMA * -log_probability).mean()


def _mean_squared_error(logits: Tensor, labels: Tensor) -> Tensor:
    return functional.mse_loss(logits, functional.one_hot(labels, logits.shape[1]).to(logits.dtype))


LOSSES: Mapping[str, Loss] = {
    "cross-entropy": functional.cross_entropy,
    "label-smoothing": _label_smoothing,
    "focal": _focal,
    "mse": _mean_squared_error,
}
