"""Training and measuring models: the same code in the cloud and at the edge, and the same bytes from the same seed."""

from cloudedge.training.devices import device, use_threads
from cloudedge.training.loop import Outcome, Progress, train
from cloudedge.training.scoring import evaluate, logits_of, measured

__all__ = ["Outcome", "Progress", "device", "evaluate", "logits_of", "measured", "train", "use_threads"]
