"""What devices wrote into the trace is believed as far as it is plausible."""

from typing import Any

import pytest

from cloudedge.documents.automl import Limits, TraceRow
from cloudedge.store import DirectoryStore
from components.automl_meta.learn.searches import is_held_out, read
from tests.cloud.searches.rows import happened, keep


def test_searches_are_counted_by_device_and_by_what_led_them(store: DirectoryStore) -> None:
    one, two, three = happened(3)
    (other,) = happened(1, device="hall-2")
    keep(store, [one, two.model_copy(update={"by": "tpe"}), three.model_copy(update={"best": None}), other])

    found = read(store)

    assert found.passed_over == {}
    assert {name: (each.searches, each.meta, each.tpe, each.nothing) for name, each in found.by_device().items()} == {
        "hall-1": (3, 2, 1, 1),
        "hall-2": (1, 1, 0, 0),
    }


def best(row: TraceRow, **changes: Any) -> dict[str, Any]:
    return {"trials": (row.trials[0].model_copy(update=changes),)}


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        (lambda row: {"best": 7}, "its best trial is number 7 of 1"),
        (lambda row: best(row, accuracy=None), "was not trained and measured"),
        (lambda row: best(row, measured=None), "was not trained and measured"),
        (lambda row: {"limits": Limits(memory_bytes=1)}, "breaks its limit of memory"),
        (
            lambda row: {
                "limits": Limits(energy_joules=1),
                **best(row, measured=row.trials[0].measured.model_copy(update={"energy_joules": None})),
            },
            "energy is limited, and was not measured",
        ),
    ],
)
def test_a_search_that_cannot_have_been_as_it_says_is_passed_over(store: DirectoryStore, changed: Any, why: str) -> None:
    one, two = happened(2)
    keep(store, [one.model_copy(update=changed(one)), two])

    found = read(store)

    assert found.rows == [two]
    (fault,) = found.passed_over.values()
    assert why in fault


def test_what_is_no_search_is_passed_over(store: DirectoryStore) -> None:
    keep(store, happened(1))
    store.put("automl/trace/search.search.hall-1.2.json", b"{")

    found = read(store)

    assert len(found.rows) == 1
    assert list(found.passed_over) == ["automl/trace/search.search.hall-1.2.json"]


def test_one_of_five_searches_is_held_out_by_its_id_alone() -> None:
    rows = happened(200)
    held_out = [row.id for row in rows if is_held_out(row)]

    assert 20 < len(held_out) < 60
    assert held_out == [row.id for row in happened(200, seed=8) if is_held_out(row)]
