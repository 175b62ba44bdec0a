"""The rounds of a collaboration: which of them a run needs, and what each orders."""

from cloud.fusion.rule import find_rule
from cloud.orders.dispatch import Participants
from cloud.orders.issue import Assignment, StoredFile, most_model_bytes
from cloud.orders.steps import StepOrders
from cloud.step import Step
from cloudedge.documents import Train, TrainingTask
from cloudedge.errors import NotFound
from components.collaborative_training.figures import training_figures


def finished_before(work: Step, task: TrainingTask, round_number: int) -> bool:
    """Whether the run needs no such round: it does not collaborate, has had its rounds, or has reached its target."""
    if not task.collaborate or round_number > task.collaboration.rounds:
        return True
    if round_number == 1 or task.collaboration.target_accuracy == 0:
        return False
    before = work.run.fusion(round_number - 1)
    return before is None or (before.base_accuracy or 0.0) >= task.collaboration.target_accuracy


def orders_of(work: Step, task: TrainingTask, round_number: int) -> StepOrders | None:
    """What a round asks of the edges; None if the run does not need it.

    Raises:
        NotFound: the steps before it were not done.
    """
    if finished_before(work, task, round_number):
        return None
    asked = task.collaboration
    found = work.run.model_after(round_number - 1)
    if found is None:
        raise NotFound(f"Round {round_number} of {work.run.id} has no base model yet: run the steps before it first.")
    training = Train(
        model=task.model,
        model_file_name=task.model_file_name,
        data=task.data,
        training=asked.training,
        recollection=asked.recollection,
        seed=task.seed,
    )
    base = StoredFile(work.run.fused_key(round_number - 1), found.sha256, found.size)
    before = work.run.waited(str(round_number - 1))
    return StepOrders(
        Assignment(
            str(round_number), training, {"base": base}, {"model": most_model_bytes(base.size)}, asked.round_deadline_seconds
        ),
        Participants(asked.edges, asked.quorum, before.late if before else {}, begun=round_number > 1),
        grace_seconds=asked.straggler_grace_seconds,
        suits=lambda edges: find_rule(asked.fusion.rule, asked.fusion.parameters, edges),
        keep=training_figures(work, asked, round_number).keep,
    )
