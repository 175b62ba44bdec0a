"""Every example in the pages works as it stands there."""

from pathlib import Path

import pytest

from tests.docs.pages import PAGES, ROOT, blocks
from tests.docs.reader import Reader, copy_of_the_rooms, installed, resembles

DOCS = ROOT / "docs"
pytestmark = pytest.mark.timeout(1500)  # Some read for minutes where nothing else is to be done.

READ = {
    ROOT / "README.md",
    DOCS / "guide-ml-engineer.md",
    DOCS / "guide-site-engineer.md",
    DOCS / "guide-inspection.md",  # By tests/e2e/test_inspection_demo.
    DOCS / "guide-automl.md",
    DOCS / "meta-model.md",
    DOCS / "guide-administrator.md",  # These two by tests/cluster, as they need a cluster.
    DOCS / "kubeflow.md",
    DOCS / "own-model.md",
    DOCS / "own-fusion-rule.md",
    DOCS / "own-system.md",  # By test_own_system.
}
"""Pages whose examples are run below."""


def test_a_newcomer_gets_from_the_readme_through_both_guides_to_a_model_of_their_own(tmp_path: Path) -> None:
    reader = Reader(tmp_path)
    for page in (ROOT / "README.md", DOCS / "guide-ml-engineer.md", DOCS / "guide-site-engineer.md"):
        reader.read(page)

    own = DOCS / "own-model.md"
    reader.write_files(own)
    reader.add_packages(installed(tmp_path / "my-nets", tmp_path / "site-packages"))
    reader.read(own)


def test_a_fusion_rule_of_ones_own_is_one_file(tmp_path: Path) -> None:
    clone = copy_of_the_rooms(tmp_path)

    Reader(clone, rooms=clone).read(DOCS / "own-fusion-rule.md")


def test_the_meta_model_of_searches_is_trained_anew_by_a_task(tmp_path: Path) -> None:
    Reader(tmp_path).read(DOCS / "meta-model.md")


def test_a_search_on_devices_and_the_deployment_of_its_model_are_described_by_valid_tasks(tmp_path: Path) -> None:
    Reader(tmp_path).read(DOCS / "guide-automl.md")


def test_no_other_page_has_examples_to_run() -> None:
    assert {page for page in PAGES if any(block.language in ("console", "python", "json") for block in blocks(page))} == READ


@pytest.mark.parametrize(
    ("output", "shown", "alike"),
    [
        ("all  0.61  0.97  ███", "all 0.50 0.99 █", True),
        ("all  0.61  0.97  ███", "everything 0.50 0.99 █", False),
        ("first\nsecond\nthird\n", "first\n...\nthird", True),
        ("first\nsecond\n", "first", False),
        ("1 sample", "one sample", False),
    ],
)
def test_only_figures_and_bars_may_differ_from_what_a_page_shows(output: str, shown: str, alike: bool) -> None:
    assert resembles(output, shown) is alike
