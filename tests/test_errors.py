"""Every exit code has its section in the docs, and the tree of errors is drawn as it is."""

import re
from collections.abc import Iterator
from pathlib import Path

from cloudedge import errors
from cloudedge.errors import EXIT_INTERRUPTED, EXIT_UNREAD, CloudedgeError

PAGE = Path(__file__).parents[1] / "docs" / "exit-codes.md"


def error_classes(root: type[CloudedgeError] = CloudedgeError) -> Iterator[type[CloudedgeError]]:
    if root.__module__ == errors.__name__:
        yield root
    for child in root.__subclasses__():
        yield from error_classes(child)


def sections() -> dict[int, str]:
    _, *parts = re.split(r"^## ", PAGE.read_text(), flags=re.MULTILINE)
    return {int(part.split(":")[0]): part for part in parts}


def test_each_exit_code_has_one_section_and_no_section_is_left_over() -> None:
    codes = {kind.exit_code for kind in error_classes()} | {0, EXIT_INTERRUPTED, EXIT_UNREAD}

    assert list(sections()) == sorted(codes)


def test_each_error_is_explained_under_its_exit_code_and_nowhere_else() -> None:
    for kind in error_classes():
        assert [code for code, text in sections().items() if f"`{kind.__name__}`" in text] == [kind.exit_code]


def test_the_tree_in_the_module_shows_every_error_below_its_parent() -> None:
    drawn = [line for line in str(errors.__doc__).splitlines() if re.match(r"\s+(│|├|└|Cloud)", line)]
    depth_and_name = [(len(re.split(r"\w", line)[0].strip("\n")) // 4, re.findall(r"\w+", line)[0]) for line in drawn]

    assert depth_and_name == [(len(kind.__mro__) - 3, kind.__name__) for kind in error_classes()]


def test_a_subclass_ends_with_its_parents_code_unless_the_tree_says_another() -> None:
    for line in str(errors.__doc__).splitlines():
        if found := re.search(r"(\w+) {2,}(\d+) {2,}", line):
            assert getattr(errors, found[1]).exit_code == int(found[2])
    for kind in error_classes():
        assert 1 <= kind.exit_code < EXIT_INTERRUPTED
