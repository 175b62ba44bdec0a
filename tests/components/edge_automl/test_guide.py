"""The guide shows what the code draws and says, and names what a task has."""

from cloudedge.automl.screen import in_words
from cloudedge.documents.task import Task
from cloudedge.documents.tasks import read_task
from cloudedge.documents.tasks.edge_automl import Allowed, EdgeAutomlTask
from tests.components.edge_automl.picture import PICTURE, drawn
from tests.components.edge_automl.searches import STRAIT, searched, task
from tests.docs.pages import ROOT, blocks

GUIDE = ROOT / "docs" / "guide-automl.md"


def test_the_picture_of_the_guide_is_what_the_code_draws() -> None:
    assert PICTURE.read_text("utf-8") == drawn(), "draw it anew: python -m tests.components.edge_automl.picture"


def test_the_words_about_nothing_feasible_are_those_of_the_code() -> None:
    result, _ = searched("meters-1.search.gate-3.1", "gate-3", STRAIT, task(allowed=Allowed(latency_ms=6.5, memory_bytes=2500)))
    assert result.nothing
    (shown,) = (block.text for block in blocks(GUIDE) if block.language == "text")
    assert shown.strip() == in_words(result.nothing)


def test_the_guide_names_every_field_of_a_task_and_its_examples_are_tasks() -> None:
    text = GUIDE.read_text()
    for name in {*EdgeAutomlTask.model_fields, *Allowed.model_fields} - {*Task.model_fields}:
        assert f"`{name}`" in text, name
    tasks = [read_task(block.text, str(block)) for block in blocks(GUIDE) if block.language == "json"]
    assert [one.kind for one in tasks] == ["edge-automl", "inspection-deployment"]
    assert tasks[1].model_dump()["model"] == tasks[0].id
