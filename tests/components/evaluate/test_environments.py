"""What a folder of test data is divided into, and what would be measured nowhere or under another's name."""

import os
from pathlib import Path

import pytest

from cloudedge.documents import DataFormat, SampleField
from cloudedge.errors import InvalidSamples
from components.evaluate.models import environments

ROWS = DataFormat(storage="csv", fields=(SampleField(name="x"),), classes=("good", "worn"))
IMAGES = DataFormat(storage="image-folder", fields=(SampleField(name="x", shape=(1, 2, 2)),), classes=("good", "défaut"))


def tree(root: Path, *files: str) -> Path:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    return root


@pytest.mark.parametrize(
    ("data", "files", "names"),
    [
        (ROWS, ["1.csv", "2.csv"], ["test"]),
        (ROWS, ["Süd/1.csv", "(a)/1.csv", "good/1.csv"], ["(a)", "Süd", "good"]),
        (ROWS, ["\x1b[31mred/1.csv", "new\nline/1.csv", "[b]/1.csv"], ["\\x1b[31mred", "[b]", "new\\nline"]),
        (ROWS, ["a/1.csv", "README.md", ".DS_Store", "__MACOSX/1.csv", ".git/1.csv"], ["a"]),
        (IMAGES, ["good/1.png", "défaut/1.png"], ["test"]),
        (IMAGES, ["de\u0301faut/1.png", "hall-1/good/1.png"], ["test"]),
        (IMAGES, ["0/1.png", "1/1.png"], ["test"]),
        (IMAGES, ["0/good/1.png", "1/good/1.png"], ["0", "1"]),
        (IMAGES, ["hall-1/good/1.png", "hall-2/good/1.png"], ["hall-1", "hall-2"]),
    ],
)
def test_folders_are_environments_unless_they_are_classes(
    data: DataFormat, files: list[str], names: list[str], tmp_path: Path
) -> None:
    assert list(environments(tree(tmp_path / "test", *files), data)) == names


def test_a_linked_folder_is_an_environment(tmp_path: Path) -> None:
    tree(tmp_path, "elsewhere/1.csv", "test/a/1.csv")
    (tmp_path / "test" / "b").symlink_to(tmp_path / "elsewhere")
    assert list(environments(tmp_path / "test", ROWS)) == ["a", "b"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["a/1.csv", "loose.csv"], r"test/loose\.csv lies beside folders, each of which is an environment.* folder of its own"),
        (
            ["a/1.csv", "all/1.csv"],
            r"test/all has the name that the scores on all test data are kept under. Give the folder an",
        ),
        (["\n/1.csv", "\\n/1.csv"], "Two folders in .*/test are shown by the same name: rename one of them"),
        (["a/1.csv", os.fsdecode(b"S\xfcd/1.csv")], r"test/S\\xfcd has a name that is not UTF-8: rename it"),
    ],
)
def test_what_would_be_measured_nowhere_or_under_the_totals_name_is_refused(
    files: list[str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InvalidSamples, match=message):
        environments(tree(tmp_path / "test", *files), ROWS)
