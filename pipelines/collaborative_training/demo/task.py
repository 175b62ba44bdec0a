"""The demo's task."""

from cloudedge.documents import Collaboration, Fusion, ModelSpec, Training, TrainingTask
from pipelines.collaborative_training.demo.digits import DATA, edge_names


def demo_task(edges: int = 4, rounds: int = 25) -> TrainingTask:
    """A task for the folder that `write_digits` lays out.

    Args:
        edges: Number of edges.
        rounds: Number of rounds.

    Raises:
        InvalidInput: the digits are not enough for so many edges, or there is no edge.
    """
    return TrainingTask(
        name="Handwritten digits on factory floors",
        id="demo",
        model_file_name="digits.safetensors",
        model=ModelSpec(architecture="convnet", parameters={"channels": [32, 64]}),
        data=DATA,
        pretraining=Training(epochs=40, batch_size=32, learning_rate=0.05, optimizer="momentum"),
        collaboration=Collaboration(
            edges=edge_names(edges),
            rounds=rounds,
            round_deadline_seconds=120,
            training=Training(epochs=2, batch_size=8, learning_rate=0.02, optimizer="momentum", weight_decay=0.001),
            fusion=Fusion(rule="fedavgm", parameters={"momentum": 0.3}),
        ),
    )
