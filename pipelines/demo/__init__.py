"""The demo: real data, and a task for it."""

from pipelines.demo.digits import edge_names, write_digits
from pipelines.demo.task import demo_task

__all__ = ["demo_task", "edge_names", "write_digits"]
