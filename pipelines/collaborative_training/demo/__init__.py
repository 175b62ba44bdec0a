"""The demo: real data, and a task for it."""

from pipelines.collaborative_training.demo.digits import edge_names, write_digits
from pipelines.collaborative_training.demo.task import demo_task

__all__ = ["demo_task", "edge_names", "write_digits"]
