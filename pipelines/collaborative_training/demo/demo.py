"""The demo: handwritten digits on factory floors."""

from pathlib import Path

from cloudedge.documents import DataFormat, TrainingTask
from pipelines.systems import Demo


class DigitsDemo(Demo[TrainingTask]):
    """Digits, seen differently at each edge."""

    def task(self, edges: int) -> TrainingTask:
        """See `Demo.task`."""
        from pipelines.collaborative_training.demo.task import demo_task

        return demo_task(edges)

    def write_data(self, folder: Path, edges: int) -> None:
        """See `Demo.write_data`."""
        from pipelines.collaborative_training.demo.digits import write_digits

        write_digits(folder, edges)

    def suits(self, task: TrainingTask) -> bool:
        """See `Demo.suits`."""
        from pipelines.collaborative_training.demo.digits import DATA

        def looks(data: DataFormat) -> tuple[object, ...]:
            return data.storage, data.classes, [(field.name, field.shape) for field in data.fields]

        return looks(task.data) == looks(DATA)
