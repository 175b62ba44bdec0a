from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from cloud.pages.markup import element, joined
from cloud.pages.words import count, duration, natural, size
from cloud.reports.timeline import spans, timeline
from cloudedge.documents import Event
from components.collaborative_training.page.charts import bounds_of
from components.collaborative_training.page.confusion import confusion_map
from tests.components.collaborative_training.page.reading import Page
from tests.components.collaborative_training.page.run_builder import BEGAN

# What HTML itself does not keep as it is: line ends, the null character, and characters that are none.
TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc")))


def log(*operations: tuple[float, str, str]) -> tuple[Event, ...]:
    return tuple(
        Event(run="digits", at=BEGAN + timedelta(seconds=at), actor=actor, action=action) for at, actor, action in operations
    )


@given(TEXT, TEXT)
def test_any_text_comes_out_of_the_markup_as_it_went_in(text: str, attribute: str) -> None:
    page = Page(element("p", text, title=attribute))
    assert (page.tags.total(), "".join(page.texts)) == (1, text if text.strip() else "")
    assert page.attributes == [("p", "title", attribute)]


def test_markup_is_not_escaped_again_and_text_beside_it_is() -> None:
    assert joined([element("b", "<"), "<", Markup("<br>")]) == "<b>&lt;</b>&lt;<br>"


def test_each_step_lasts_from_the_operation_before_it() -> None:
    operations = log(
        (0, "anna/pretrain", "created"),
        (3, "anna/pretrain", "pretrained"),
        (4, "anna/dispatch-1", "dispatched"),
        (9, "anna/wait-1", "waited"),
    )
    assert spans(operations) == [("pretrain", "", 0, 3), ("dispatch", "1", 3, 1), ("wait", "1", 4, 5)]


def test_the_time_between_a_stop_and_the_next_start_is_no_work() -> None:
    operations = log(
        (0, "anna/pretrain", "created"),
        (3, "anna/pretrain", "pretrained"),
        (5, "anna/wait-1", "stopped"),
        (4000, "anna/dispatch-1", "dispatched"),
        (4006, "anna/wait-1", "waited"),
    )
    found = spans(operations)
    assert [(span.step, span.start, span.seconds) for span in found] == [("pretrain", 0, 3), ("wait", 3, 2), ("wait", 5, 6)]
    assert Page(timeline(operations)).texts == ["pretrain", "3.0 s", "wait", "8.0 s", "all", "11.0 s"]


def test_what_a_person_does_between_steps_is_not_a_step() -> None:
    assert spans(log((0, "anna/pretrain", "created"), (2, "anna", "cancelled"))) == []


def test_clocks_that_disagree_give_no_negative_time() -> None:
    assert [span.seconds for span in spans(log((5, "a/pretrain", "created"), (3, "b/pretrain", "pretrained")))] == [0]


def test_a_confusion_matrix_has_true_classes_as_rows_and_says_what_share_was_found() -> None:
    page = Page(confusion_map([[8, 2], [0, 0]], ["cat", "dog"]))
    assert page.tables["confusion"] == [
        ["True \\ predicted", "cat", "dog", "Found"],
        ["cat", "8", "2", "80%"],
        ["dog", "", "", ""],
    ]
    assert ("td", "title", "cat taken for dog: 2 of 10") in page.attributes


def test_of_many_classes_the_commonest_confusions_are_listed() -> None:
    classes = [f"c{number}" for number in range(30)]
    counts = [[10 if true == predicted else 0 for predicted in range(30)] for true in range(30)]
    counts[4][7], counts[2][1] = 5, 30
    page = Page(confusion_map(counts, classes))
    assert page.tables[""] == [
        ["True class", "Taken for", "Samples", "Of its class"],
        ["c2", "c1", "30", "75.0%"],
        ["c4", "c7", "5", "33.3%"],
    ]


@given(st.lists(st.floats(0, 1), min_size=1))
def test_an_accuracy_axis_holds_every_value(values: list[float]) -> None:
    low, high = bounds_of(values)
    assert 0 <= low <= min(values)
    assert max(values) <= high <= 1.02
    assert low < high


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 0 s"),
        (61, "1 min 1 s"),
        (3599.7, "1 h 0 min"),
        (90_000, "25 h 0 min"),
        (28_454_040, "329 d 7 h"),
    ],
)
def test_time_spans_read_well(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("length", "words"),
    [(0, "0 B"), (1023, "1,023 B"), (23_144, "22.6 KiB"), (100 * 2**20, "100 MiB"), (3 * 2**50, "3,072 TiB")],
)
def test_lengths_read_well(length: int, words: str) -> None:
    assert size(length) == words


def test_things_are_counted_in_words_and_names_sorted_as_people_do() -> None:
    assert [count(1, "edge"), count(1200, "sample")] == ["1 edge", "1,200 samples"]
    assert sorted(["edge-10", "b", "edge-2", "2", "edge"], key=natural) == ["b", "edge", "edge-2", "edge-10", "2"]
