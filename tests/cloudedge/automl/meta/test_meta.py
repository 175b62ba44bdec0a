from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudedge.automl.beginning import Begun, begin
from cloudedge.automl.meta.features import MOST_ROWS, NAMES, features, rows
from cloudedge.automl.meta.model import DEEPEST, HEADS, WIDEST, MetaModel
from cloudedge.automl.meta.shipping import TABLES, read_table
from cloudedge.automl.meta.simulating import SIMULATED, Device, drawn_state, form, simulated
from cloudedge.automl.meta.training import agreement, examples, surprise, train
from cloudedge.automl.screen import REFERENCE, Screen, bounds
from cloudedge.automl.searching import Search
from cloudedge.automl.space import networks
from cloudedge.documents.automl import DeviceState, Limits, QueuedJob, TraceRow
from cloudedge.errors import InvalidDocument, InvalidInput, InvalidModel, NotFound
from tests.cloudedge.automl.devices import BOARD, DATA, JOBS, job, state

COSTS = BOARD.costs(REFERENCE, DATA)
LIMITS = Limits(latency_ms=10, memory_bytes=2**20)


def seen(found: DeviceState, limits: Limits = LIMITS) -> dict[str, float]:
    return dict(zip(NAMES, features(found, limits, COSTS).tolist(), strict=True))


@given(st.lists(JOBS, max_size=MOST_ROWS + 4), st.randoms())
def test_the_order_of_the_queue_does_not_matter(jobs: list[QueuedJob], chance: object) -> None:
    shuffled = [*jobs]
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    np.testing.assert_allclose(
        features(state(*jobs), LIMITS, COSTS), features(state(*shuffled), LIMITS, COSTS), rtol=0, atol=1e-9
    )


def test_rows_beyond_the_queue_and_what_a_job_lacks_are_masked() -> None:
    values, mask = rows([job(10, 1000), job(100, 100, npu=1)])
    assert mask.sum(0).tolist() == [2, 1, 2, 1, 2, 1, 2, 2]
    assert not mask[2:].any()
    assert not values[~mask].any()
    # The more urgent job is the first row.
    assert values[0, :2].tolist() == [2, 0]
    assert values[:2, 6].tolist() == [2, 3]


def test_the_queue_is_pooled_in_logarithms() -> None:
    found = seen(state(job(10, 1000), job(100, 100, npu=1)))
    assert found["jobs"] == pytest.approx(np.log10(3))
    assert found["backlog"] == pytest.approx(np.log10(11))
    assert found["least_latency_limit"] == 2
    assert found["mean_runtime_cpu"] == 1.5
    assert found["mean_runtime_npu"] == 0
    assert found["share_with_npu"] == 0.5
    assert found["least_slack"] == pytest.approx(np.log10(1 + 99_000))
    late = seen(state(job(10, 1)))
    assert late["least_slack"] == pytest.approx(-np.log10(1 + 9_000))


def test_a_limit_counts_by_how_often_the_reference_network_fits_into_it() -> None:
    limits = Limits(latency_ms=10 * COSTS.latency_bound_ms, memory_bytes=COSTS.memory_bytes)
    found = seen(state(), limits)
    assert found["latency_headroom"] == pytest.approx(1)
    assert found["memory_headroom"] == pytest.approx(0)
    # A limit that there is not is as one that says nothing.
    assert found["energy_headroom"] == seen(state(), Limits(latency_ms=1e6))["latency_headroom"]


@pytest.fixture(scope="module")
def table_rows() -> list[TraceRow]:
    return list(simulated(read_table("dials"), 120, seed=3))


def test_simulated_searches_follow_from_their_seed_and_keep_their_limits(table_rows: list[TraceRow]) -> None:
    again = list(simulated(read_table("dials"), 5, seed=3))
    assert again == table_rows[:5]
    assert list(simulated(read_table("dials"), 5, seed=4)) != again
    for row in table_rows:
        (trial,) = row.trials
        assert row.device == SIMULATED
        assert trial.measured is not None
        assert row.limits.latency_ms is None or trial.measured.latency_bound_ms <= row.limits.latency_ms
        assert row.limits.memory_bytes is not None
        assert trial.measured.memory_bytes <= row.limits.memory_bytes


def test_what_would_have_been_best_is_the_most_accurate_network_that_keeps_the_limits() -> None:
    table = read_table("dials")
    chance = np.random.default_rng([7, 20])
    device = Device.drawn(chance)
    bill = device.bill(table.networks, form(table))
    found, asked = drawn_state(chance, device, bill)
    limits = bounds(asked, found).limits
    kept = [place for place, one in enumerate(table.networks) if not Screen(device, form(table), limits).broken(one)]
    assert kept == np.flatnonzero(bill.kept(limits)).tolist()


def test_a_search_that_found_nothing_says_nothing(table_rows: list[TraceRow]) -> None:
    without = [row.model_copy(update={"best": None}) for row in table_rows[:3]]
    found = examples([*without, *table_rows[3:10]])
    assert (len(found.seen), len(found.chosen), found.simulated) == (7, 7, 7)
    best = table_rows[3].trials[0].candidate
    assert [HEADS[name][place] for name, place in zip(HEADS, found.chosen[0], strict=True)][:3] == [
        best.layers,
        best.filters,
        best.kernel,
    ]


@pytest.fixture(scope="module")
def small(table_rows: list[TraceRow]) -> MetaModel:
    return train(examples(table_rows), "a test", trials=2, steps=40)


def test_a_meta_model_is_trained_to_the_same_bytes(small: MetaModel, table_rows: list[TraceRow], tmp_path: Path) -> None:
    again = train(examples(table_rows), "a test", trials=2, steps=40)
    small.save(tmp_path / "one")
    again.save(tmp_path / "two")
    for name in ("meta.safetensors", "meta.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_a_meta_model_that_was_saved_proposes_the_same(small: MetaModel, tmp_path: Path) -> None:
    small.save(tmp_path)
    found = MetaModel.load(tmp_path)
    assert found.card == small.card
    looked_at = features(state(job(1, 10)), LIMITS, COSTS)
    assert found.propose(looked_at) == small.propose(looked_at)


def test_its_own_size_is_searched_for_within_ten_layers_of_three_hundred(small: MetaModel) -> None:
    assert small.card.layers + 1 <= DEEPEST
    assert max(small.card.width, sum(map(len, HEADS.values()))) <= WIDEST


def test_each_feature_beyond_its_range_is_named(small: MetaModel) -> None:
    middle = np.array([feature.mean for feature in small.card.features])
    assert small.outside(middle) == ()
    for place, feature in enumerate(small.card.features):
        for value in (feature.low - 1, feature.high + 1):
            moved = middle.copy()
            moved[place] = value
            (told,) = small.outside(moved)
            assert told.startswith(f"{feature.name} is ")
            assert f"{feature.low:.3g} to {feature.high:.3g}" in told


def test_a_search_counts_as_many_as_it_is_said_to_but_is_held_out_or_not_as_one(table_rows: list[TraceRow]) -> None:
    once, more = examples(table_rows[:80]), examples(table_rows[80:], times=9)
    both = once.and_also(more)
    assert both.times.tolist() == [1] * 80 + [9] * 40
    assert (len(both.seen), both.simulated) == (120, 120)
    model = train(both, "a test", trials=1, steps=20)
    assert (model.card.rows, model.card.simulated_rows) == (120, 120)
    held_out = 24
    assert {round(share * held_out, 3) % 1 for share in model.card.agreement.values()} == {0}
    assert model.card.features[0] != train(examples(table_rows), "a test", trials=1, steps=20).card.features[0]


def test_a_meta_model_is_less_surprised_by_what_it_learned_than_one_that_learned_something_else(
    table_rows: list[TraceRow],
) -> None:
    found = examples(table_rows)
    learned = train(found, "a test", trials=1, steps=200)
    other = train(found._replace(chosen=np.zeros_like(found.chosen)), "a test", trials=1, steps=200)
    assert surprise(learned, found) < surprise(other, found)
    assert agreement(other, found)["layers"] == pytest.approx((found.chosen[:, 0] == 0).mean())


def test_it_says_how_far_its_training_is(table_rows: list[TraceRow]) -> None:
    said: list[str] = []
    train(examples(table_rows), "a test", trials=2, steps=20, say=said.append)
    assert len(said) == 2
    assert "hidden layers of" in said[0]


def test_too_few_searches_are_refused(table_rows: list[TraceRow]) -> None:
    with pytest.raises(InvalidInput, match="3 searches found a model"):
        train(examples(table_rows[:3]), "a test")


def test_what_is_no_meta_model_is_refused(small: MetaModel, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no meta model"):
        MetaModel.load(tmp_path)
    small.save(tmp_path)
    card = tmp_path / "meta.json"
    whole = card.read_text()
    other = small.card.layers % 9 + 1
    card.write_text(whole.replace(f'"layers": {small.card.layers},\n  "width"', f'"layers": {other},\n  "width"'))
    with pytest.raises(InvalidModel):
        MetaModel.load(tmp_path)
    card.write_text(whole.replace('"name": "jobs"', '"name": "tasks"'))
    with pytest.raises(InvalidDocument, match="train it anew"):
        MetaModel.load(tmp_path)


def test_the_one_that_comes_along_says_that_no_device_was_asked() -> None:
    card = MetaModel.load().card
    assert card.rows == card.simulated_rows > 1000
    assert "simulated searches on drawn devices" in card.trained_on


def test_the_one_that_comes_along_leads_a_search_on_a_device_that_it_never_saw() -> None:
    model = MetaModel.load()
    found = begin("search", "edge", state(job(0.05, 10)), Limits(latency_ms=1), BOARD, DATA, model)
    assert isinstance(found, Begun)
    assert found.row.by == "meta", found.row.why
    trial = Search(*found, 3).ask()
    assert trial is not None
    assert not found.screen.broken(trial.candidate)


@pytest.mark.parametrize(
    "strange",
    [
        lambda: state(*[job(0.05, 10)] * 500),
        lambda: state(job(0.05, 10), watts=1e5),
        lambda: state(job(1e6, 1e7)),
    ],
    ids=["queue", "power", "runtime"],
)
def test_the_one_that_comes_along_is_not_asked_beyond_its_range(strange: Callable[[], DeviceState]) -> None:
    found = begin("search", "edge", strange(), Limits(latency_ms=1), BOARD, DATA, MetaModel.load(), share=0)
    assert isinstance(found, Begun)
    assert found.row.by == "tpe"
    assert found.row.why.startswith("Beyond what the meta model was trained on: ")


@pytest.mark.parametrize("name", TABLES)
def test_a_table_holds_every_network(name: str) -> None:
    assert set(read_table(name).networks) == set(networks().everything)
