"""The rounds of a collaboration: which of them a run needs, and what each orders."""

from cloud.fusion.rule import find_rule
from cloud.orders.dispatch import Participants, dispatch
from cloud.orders.issue import Assignment, StoredFile, most_model_bytes
from cloud.step import Step
from cloudedge.documents import Task, Train
from cloudedge.errors import NotFound


def finished_before(work: Step, task: Task, round_number: int) -> bool:
    """Whether the run needs no such round: it does not collaborate, has had its rounds, or has reached its target."""
    if not task.collaborate or round_number > task.collaboration.rounds:
        return True
    if round_number == 1 or task.collaboration.target_accuracy == 0:
        return False
    before = work.run.fusion(round_number - 1)
    return before is None or (before.base_accuracy or 0.0) >= task.collaboration.target_accuracy


def order_training(work: Step, task: Task, round_number: int) -> int:
    """Order one round of training, except where its orders stand or are fulfilled.

    Returns:
        Number of edges that take part.
    """
    asked = task.collaboration
    base = StoredFile(work.run.fused_key(round_number - 1), *_digest_before(work, round_number))
    training = Train(
        model=task.model,
        model_file_name=task.model_file_name,
        data=task.data,
        training=asked.training,
        recollection=asked.recollection,
        seed=task.seed,
    )
    before = work.run.waited(round_number - 1)
    issued, late = dispatch(
        work,
        Assignment(
            str(round_number), training, {"base": base}, {"model": most_model_bytes(base.size)}, asked.round_deadline_seconds
        ),
        Participants(asked.edges, asked.quorum, before.late if before else {}, begun=round_number > 1),
        lambda edges: find_rule(asked.fusion.rule, asked.fusion.parameters, edges),
    )
    work.log("dispatched", round=round_number, orders=issued)
    return len(issued) + len(late)


def _digest_before(work: Step, round_number: int) -> tuple[str, int]:
    found = work.run.model_after(round_number - 1)
    if found is None:
        raise NotFound(f"Round {round_number} of {work.run.id} has no base model yet: run the steps before it first.")
    return found.sha256, found.size
