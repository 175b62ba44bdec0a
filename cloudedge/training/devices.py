"""Where tensors are computed, and with how many threads."""

import os

import torch


def device() -> torch.device:
    """The first GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def use_threads(threads: int) -> None:
    """Set the CPU threads of this process, and have no operation whose results vary from run to run where another will do.

    Where none will, the CPU refuses it; a GPU, which many a network would then not be trained on, warns. On a GPU this must
    come before the process's first operation.

    Args:
        threads: Number of threads. Sums depend on it, and on the kind of GPU: the same bytes need the same.
    """
    torch.set_num_threads(threads)
    # With a workspace of a fixed size cuBLAS sums in the same order each time; PyTorch refuses its products without one.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # The documented twin of torch.use_deterministic_algorithms, without that one's import of the whole compiler (seconds).
    torch.set_deterministic_debug_mode("warn" if torch.cuda.is_available() else "error")
    # It would write NaN into every new buffer to catch reads of unset memory: a debugging aid that costs time at each step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # a property made at run time
