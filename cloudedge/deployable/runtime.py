"""onnxruntime, which tells nobody of what runs here: from here all of cloudedge has it.

From 1.29 on it reports each process, session and model to its maker, by a thread that it starts as it is imported, and keeps an
id of the machine in the user's home (https://github.com/microsoft/onnxruntime/pull/27379). What somebody's devices compute is
nobody else's business; and a fork server must not have a thread.
"""

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # It is read once, as the library is loaded.

import onnxruntime

__all__ = ["onnxruntime"]
