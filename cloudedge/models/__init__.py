"""The networks that a task can name, and the way to build one."""

from cloudedge.models.registry import Architecture, architectures, build

__all__ = ["Architecture", "architectures", "build"]
