"""Training and measuring models: in the cloud as at the edge, and the same bytes from the same seed (see `use_threads`)."""

from cloudedge.training.devices import device, use_threads
from cloudedge.training.loop import Outcome, Progress, train
from cloudedge.training.scoring import at_once, evaluate, logits_of, measured

__all__ = ["Outcome", "Progress", "at_once", "device", "evaluate", "logits_of", "measured", "train", "use_threads"]
