"""What the fork server of pipeline tasks imports first: it ends with the process of its pipelines, even while it loads."""

import contextlib
import ctypes
import gc
import signal

_PR_SET_PDEATHSIG = 1

with contextlib.suppress(AttributeError, OSError):  # Only Linux has it; elsewhere a fork server ends once it has loaded.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
gc.disable()  # Of what is imported nothing is garbage; looking for it costs a tenth of the time.
