"""The pipeline's first step, as Kubeflow sees it."""

from typing import NamedTuple

from kfp import dsl

from cloud.image import CLOUD_IMAGE


@dsl.component(base_image=CLOUD_IMAGE, install_kfp_package=False)
def pretrain(
    pretrained: dsl.Output[dsl.Model],
    pretraining_metrics: dsl.Output[dsl.Metrics],
    task_name: str,
    task_id: str,
    model_file_name: str,
    model_architecture: str,
    model_parameters: dict,
    data_format: dict,
    random_seed: int,
    pretraining_epochs: int,
    pretraining_batch_size: int,
    pretraining_learning_rate: float,
    pretraining_optimizer: str,
    pretraining_weight_decay: float,
    pretraining_loss: str,
    pretraining_proximal: float,
    pretraining_target_accuracy: float,
    pretraining_threads: int,
    collaborate: bool,
    edges: list,
    rounds: int,
    quorum: int,
    round_deadline_seconds: float,
    straggler_grace_seconds: float,
    rounds_target_accuracy: float,
    edge_epochs: int,
    edge_batch_size: int,
    edge_learning_rate: float,
    edge_optimizer: str,
    edge_weight_decay: float,
    edge_loss: str,
    edge_proximal: float,
    edge_target_accuracy: float,
    edge_threads: int,
    edge_recollections: int,
    edge_recollection_wait_seconds: float,
    fusion_rule: str,
    fusion_parameters: dict,
    fusion_base_weight: float,
    cloud_data: str,
    test_data: str,
    kubeflow_run_id: str,
    most_rounds: int,
) -> NamedTuple("Outputs", [("run", str)]):
    """Create the run and train the pretrained model on the cloud's own samples.

    Args:
        pretrained: The pretrained model: where it lies in the store, its size and digest.
        pretraining_metrics: Accuracy, recall and loss on the cloud's held-out samples, number of samples, seconds.
        task_name: What people call the task.
        task_id: Id of the task and its run; empty: the Kubeflow run's id.
        model_file_name: File name of the model; without its ending the registered model's name, which is by default the task's.
        model_architecture: mlp, convnet, vgg, or your own.
        model_parameters: The architecture's settings, such as layers and width.
        data_format: How samples are stored, which fields the model reads, and the classes.
        random_seed: All randomness of the run follows from it.
        pretraining_epochs: Largest number of passes over the cloud's samples.
        pretraining_batch_size: Samples per step.
        pretraining_learning_rate: Step size of the optimizer.
        pretraining_optimizer: sgd, momentum, adam or adamw.
        pretraining_weight_decay: Decay of the weights, 0 for none.
        pretraining_loss: cross-entropy, label-smoothing, focal or mse.
        pretraining_proximal: FedProx factor, 0 for none.
        pretraining_target_accuracy: Held-out accuracy that ends pretraining, 0 to train all epochs.
        pretraining_threads: CPU threads.
        collaborate: Whether edges take part.
        edges: Names of the participating edges; empty: all enrolled ones.
        rounds: Largest number of rounds.
        quorum: Results that a round needs, 0 for all.
        round_deadline_seconds: How long a round waits for results.
        straggler_grace_seconds: How long a round that has its quorum waits for more.
        rounds_target_accuracy: Accuracy on the edges' held-out samples that ends the rounds, 0 to run all.
        edge_epochs: Largest number of passes over an edge's samples in a round.
        edge_batch_size: Samples per step at the edge.
        edge_learning_rate: Step size of the optimizer at the edge.
        edge_optimizer: sgd, momentum, adam or adamw.
        edge_weight_decay: Decay of the weights, 0 for none.
        edge_loss: cross-entropy, label-smoothing, focal or mse.
        edge_proximal: FedProx factor at the edge, 0 for none.
        edge_target_accuracy: Held-out accuracy that ends an edge's training, 0 to train all epochs.
        edge_threads: CPU threads at the edge.
        edge_recollections: How often an edge below target collects samples again.
        edge_recollection_wait_seconds: How long one collection waits for new samples.
        fusion_rule: samples, uniform, accuracy, given, greedy, median, ...
        fusion_parameters: The rule's settings.
        fusion_base_weight: Weight of the round's base model in the average.
        cloud_data: Where the cloud's samples are, store:NAME.
        test_data: Where samples are that nobody trains on, store:NAME, to know early that they are there; empty: none.
        kubeflow_run_id: Id of the Kubeflow run.
        most_rounds: Rounds that this pipeline has tasks for.

    Returns:
        Id of the run.
    """
    parameters = dict(locals())
    from components.collaborative_training.pretrain.entrypoint import run_pretrain

    return run_pretrain(parameters)
