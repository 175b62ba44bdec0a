"""The DAGs, what runs them, the command line, and cloudedge's Python interface: the names in `__all__`.

They are loaded when they are asked for, so that the command line pays for none of them. Nothing may be imported here before:
the command line has not made sure yet where modules are taken from.
"""

TYPE_CHECKING = False

if TYPE_CHECKING:
    from pipelines.experiments.cluster import Cluster
    from pipelines.experiments.comparison import Comparison, compare
    from pipelines.experiments.laptop import Laptop
    from pipelines.experiments.run import Run
    from pipelines.experiments.sweep import Sweep
    from pipelines.experiments.task import Task

_PLACES = {
    "Cluster": "pipelines.experiments.cluster",
    "Comparison": "pipelines.experiments.comparison",
    "Laptop": "pipelines.experiments.laptop",
    "Run": "pipelines.experiments.run",
    "Sweep": "pipelines.experiments.sweep",
    "Task": "pipelines.experiments.task",
    "compare": "pipelines.experiments.comparison",
}

__all__ = ["Cluster", "Comparison", "Laptop", "Run", "Sweep", "Task", "compare"]


def __getattr__(name: str) -> object:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    found: object = getattr(import_module(_PLACES[name]), name)
    return found


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
