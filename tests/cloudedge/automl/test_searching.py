import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudedge.automl import searching
from cloudedge.automl.beginning import Begun, begin, taken_up
from cloudedge.automl.meta.features import Array
from cloudedge.automl.meta.simulating import Device
from cloudedge.automl.screen import Screen
from cloudedge.automl.searching import Known, Search, best
from cloudedge.automl.space import Preferences, below, networks
from cloudedge.documents.automl import Candidate, Hyperparameters, Limits, NothingFeasible, TraceRow, Trial
from cloudedge.errors import Conflict, InvalidInput
from cloudedge.seeds import derived_seed
from tests.cloudedge.automl.devices import BOARD, CAPS, DATA, DEVICES, LIMITS, state

MODERATE = Limits(latency_ms=2.0)


class Named:
    """A meta model that always names the same caps."""

    def __init__(self, caps: Hyperparameters, outside: tuple[str, ...] = ()) -> None:
        self._caps, self._outside = caps, outside

    def outside(self, seen: Array) -> tuple[str, ...]:
        return self._outside

    def propose(self, seen: Array) -> tuple[Hyperparameters, Preferences]:
        return self._caps, {}


def begun(device: Device = BOARD, limits: Limits = MODERATE, model: Named | None = None) -> Begun:
    found = begin("run.search.edge.1", "edge", state(), limits, device, DATA, model)
    assert isinstance(found, Begun)
    return found


def accuracy(candidate: Candidate) -> float:
    """What a candidate reaches, as if by chance."""
    return derived_seed(0, candidate.model_dump_json()) % 1000 / 1000


def trained(trial: Trial, device: Device = BOARD) -> Trial:
    measured = device.costs(trial.candidate, DATA).model_copy(update={"origin": "measured"})
    return trial.model_copy(update={"accuracy": accuracy(trial.candidate), "measured": measured})


def finished(search: Search, device: Device = BOARD) -> TraceRow:
    while trial := search.ask():
        search.tell(trained(trial, device))
    return search.row


CAPPED = Named(Hyperparameters(layers=4, filters=32, kernel=5, loss="focal", seed=2))


def test_it_trains_from_the_caps_downward_what_the_screen_lets_through_with_the_loss_and_seed_of_the_caps() -> None:
    row, screen = begun(model=CAPPED)
    done = finished(Search(row, screen, 5))
    tried = [trial.candidate for trial in done.trials]
    assert tried == below(row.hyperparameters)[: len(tried)]
    assert [trial.candidate for trial in done.trials if trial.accuracy is not None] == screen.feasible(tried)
    assert {(trial.loss, trial.seed) for trial in done.trials} == {("focal", 2)}
    assert done.by == "meta"


@pytest.mark.parametrize("model", [CAPPED, None], ids=["meta", "tpe"])
def test_a_search_that_was_cut_anywhere_goes_on_to_the_same_end(model: Named | None) -> None:
    row, screen = begun(model=model)
    whole = finished(Search(row, screen, 6))
    cut = Search(row, screen, 6)
    while True:
        kept = cut.row.model_dump_json()
        # Killed before it asks, after it asked, and after it told: what is read again is what was kept.
        cut = Search(*taken_up(TraceRow.model_validate_json(kept), BOARD, DATA), 6)
        trial = cut.ask()
        if trial is None:
            break
        again = Search(*taken_up(TraceRow.model_validate_json(kept), BOARD, DATA), 6)
        assert again.ask() == trial
        again.tell(trained(trial))
        cut = again
    assert [trial.candidate for trial in cut.row.trials if trial.accuracy is not None] == [
        trial.candidate for trial in whole.trials if trial.accuracy is not None
    ]
    assert cut.row.best is not None
    assert whole.best is not None
    assert cut.row.trials[cut.row.best] == whole.trials[whole.best]


@pytest.mark.parametrize("model", [CAPPED, None], ids=["meta", "tpe"])
def test_asked_again_it_names_the_same_candidate(model: Named | None) -> None:
    # So tight that some are screened out on the way.
    search = Search(*begun(model=model, limits=Limits(latency_ms=0.3)), 3)
    first = search.ask()
    assert first is not None
    assert search.row.trials
    assert search.ask() == first
    search.tell(trained(first))
    with pytest.raises(Conflict, match="each is trained once"):
        search.tell(trained(first))
    assert search.ask() != first


@settings(max_examples=30)
@given(DEVICES, LIMITS, CAPS | st.none())
def test_nothing_that_is_trained_or_returned_breaks_a_limit_by_prediction_and_nothing_is_trained_twice(
    device: Device, limits: Limits, caps: Hyperparameters | None
) -> None:
    found = begin("search", "edge", state(), limits, device, DATA, Named(caps) if caps else None)
    if isinstance(found, NothingFeasible):
        assert not Screen(device, DATA, limits).feasible()
        return
    row = finished(Search(*found, 4), device)
    done = [trial for trial in row.trials if trial.accuracy is not None]
    assert 1 <= len(done) <= 4
    assert len({trial.candidate for trial in row.trials}) == len(row.trials)
    assert not any(found.screen.broken(trial.candidate) for trial in done)
    assert all(trial.broken for trial in row.trials if trial.accuracy is None)
    assert row.best is not None
    assert row.trials[row.best].accuracy == max(trial.accuracy for trial in done if trial.accuracy is not None)


def test_it_ends_when_all_that_is_feasible_is_trained() -> None:
    caps = Hyperparameters(layers=1, filters=8, kernel=3)
    row, screen = begun(model=Named(caps), limits=Limits(latency_ms=100))
    done = finished(Search(row, screen, 1000))
    assert {trial.candidate for trial in done.trials} == set(below(caps))


def test_beyond_its_range_tpe_leads_and_it_says_so() -> None:
    row, _ = begun(model=Named(Hyperparameters(layers=1, filters=4, kernel=1), outside=("jobs is 9, and it has seen 0 to 1",)))
    assert row.by == "tpe"
    assert row.why == "Beyond what the meta model was trained on: jobs is 9, and it has seen 0 to 1."
    assert begun().row.why == "There is no meta model here."


def test_what_optuna_proposes_follows_from_the_seed_and_the_weights_do_not() -> None:
    one, again, other = (finished(Search(*begun(), 6, seed)) for seed in (1, 1, 2))
    assert one == again
    assert [trial.candidate for trial in one.trials] != [trial.candidate for trial in other.trials]
    assert {trial.seed for trial in (*one.trials, *other.trials)} == {0}


def test_tpe_learns_what_is_good() -> None:
    row, screen = begun(limits=Limits(latency_ms=1e6))
    search = Search(row, screen, 25)
    while trial := search.ask():
        good = trial.candidate.filters / 64 - abs(trial.candidate.layers - 3) / 10
        search.tell(trained(trial).model_copy(update={"accuracy": max(0.0, good)}))
    filters = [trial.candidate.filters for trial in search.row.trials]
    assert sum(filters[-10:]) > sum(filters[:10])


def test_tpe_hears_that_what_was_trained_is_beyond_a_limit_as_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    row, screen = begun()
    search = Search(row, screen, 2)
    trial = search.ask()
    assert trial is not None
    slow = trial.predicted.model_copy(update={"latency_bound_ms": 2 * (MODERATE.latency_ms or 0)})
    search.tell(trial.model_copy(update={"accuracy": 1.0, "measured": slow}))
    heard: list[Known[Candidate]] = []

    def heard_by_tpe(_space: object, _seed: int, known: list[Known[Candidate]]) -> list[Candidate]:
        heard.extend(known)
        return []

    monkeypatch.setattr(searching, "Tpe", heard_by_tpe)
    search.ask()
    (known,) = heard
    assert known.item == trial.candidate
    assert known.excess["latency"] == pytest.approx(1.0)


def test_what_is_measured_beyond_a_limit_or_not_measured_is_not_returned() -> None:
    costs = BOARD.costs(Candidate(layers=1, filters=4, kernel=1), DATA)
    slow = costs.model_copy(update={"latency_ms": 3.0, "latency_bound_ms": 3.0})
    fast = costs.model_copy(update={"latency_ms": 1.0, "latency_bound_ms": 1.0})

    def trial(filters: int, reached: float, measured: object) -> Trial:
        candidate = Candidate.model_validate({"layers": 1, "filters": filters, "kernel": 1})
        return Trial(candidate=candidate, predicted=costs, accuracy=reached).model_copy(update={"measured": measured})

    trials = [trial(4, 0.5, fast), trial(8, 0.9, slow), trial(16, 0.95, None)]
    assert best(trials, MODERATE) == 0
    assert best(trials[1:], MODERATE) is None
    assert best([trial(4, 0.5, fast), trial(8, 0.5, costs)], Limits(latency_ms=9)) == (
        0 if fast.latency_ms <= costs.latency_ms else 1
    )


def test_without_optuna_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    search = Search(*begun(), 3)
    with pytest.raises(InvalidInput, match="extra 'edge'"):
        search.ask()


def test_led_by_the_meta_model_it_does_without_optuna(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert Search(*begun(model=CAPPED), 1).ask() is not None


def test_a_search_for_nothing_is_refused() -> None:
    with pytest.raises(InvalidInput, match="give 1 or more"):
        Search(*begun(), 0)


def test_all_networks_are_tried_by_tpe_in_the_end() -> None:
    device = Device(1e12, 0, 1e-9, 1e-9, 1, 1, 1, 1, (0, 0), 2**40, ())
    row, screen = begun(device)
    trials = tuple(
        Trial(candidate=one, predicted=screen.costs(one), accuracy=accuracy(one)) for one in [*networks().everything][:-2]
    )
    done = finished(Search(row.model_copy(update={"trials": trials}), screen, 1000), device)
    assert {trial.candidate for trial in done.trials} == set(networks().everything)
    assert len(done.trials) == 200
