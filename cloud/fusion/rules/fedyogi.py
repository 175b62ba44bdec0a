"""Yogi at the server, on the averaged change: as FedAdam, with a mean square that changes slowly in either direction.

Reddi et al., "Adaptive Federated Optimization", ICLR 2021 (arXiv:2003.00295), algorithm 2 (FedYogi).
"""

import numpy as np

from cloud.fusion.rule import Floats, ServerOptimizer
from cloud.fusion.rules.fedadam import Setting, adaptive_step, memory


def additive(square: Floats, new: Floats, beta_2: float) -> Floats:
    """The controlled step v - (1 - beta_2) change^2 sign(v - change^2)."""
    return square - (1 - beta_2) * new * np.sign(square - new)


RULE = ServerOptimizer(memory, adaptive_step(additive), Setting)
