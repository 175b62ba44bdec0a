"""Where tensors are computed, and with how many threads."""

import torch


def device() -> torch.device:
    """The first GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def use_threads(threads: int) -> None:
    """Set the CPU threads of this process, and on the CPU refuse operations whose results vary from run to run.

    Args:
        threads: Number of threads. Sums depend on it, so the same bytes need the same number.
    """
    torch.set_num_threads(threads)
    # The documented twin of torch.use_deterministic_algorithms, without that one's import of the whole compiler (seconds).
    torch.set_deterministic_debug_mode("default" if torch.cuda.is_available() else "error")
    # It would write NaN into every new buffer to catch reads of unset memory: a debugging aid that costs time at each step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # a property made at run time
