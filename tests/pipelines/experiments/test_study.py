"""A sweep whose values Optuna chooses."""

from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import FloatDistribution, IntDistribution

from cloudedge.errors import CloudedgeError, InvalidInput
from pipelines import Task
from pipelines.experiments.book import Book
from pipelines.experiments.study import Study
from pipelines.experiments.trials import checked_values
from tests.digits import digits_task

DIGITS = Task.of(digits_task())
RATE = "collaboration.training.learning_rate"
OVER = {RATE: FloatDistribution(0.01, 1.0, log=True), "collaboration.fusion.rule": ["samples", "median"]}


@pytest.fixture
def book(tmp_path: Path) -> Path:
    return tmp_path / "sweeps" / "digits.json"


def study(book: Path, trials: int, over: Any = OVER, **more: Any) -> Study:
    return Study(DIGITS, checked_values(over), 1, trials, more.get("sampler"), Book(book))


def played(search: Study, most: int = 100) -> list[dict[str, Any]]:
    """Try up to so many combinations; the nearer the rate is to 0.3, the better."""
    tried: list[dict[str, Any]] = []
    while len(tried) < most and (combination := search.ask()):
        tried.append(dict(combination.values))
        search.tell(combination, [1 - abs(combination.values[RATE] - 0.3)])
    return tried


def test_it_tries_as_many_as_asked_for_within_the_distributions(book: Path) -> None:
    search = study(book, 30)

    tried = played(search)

    assert len(tried) == len(search.study.trials) == 30
    assert search.left == 0
    assert all(0.01 <= values[RATE] <= 1.0 for values in tried)
    assert {values["collaboration.fusion.rule"] for values in tried} == {"samples", "median"}
    assert abs(search.study.best_params[RATE] - 0.3) < 0.1


def test_it_goes_on_where_it_was_with_what_it_has_learned(book: Path) -> None:
    first = played(study(book, 20), most=12)

    search = study(book, 20)
    again = played(search)

    assert again[:12] == first
    assert len({values[RATE] for values in again}) == 20
    assert len(search.study.trials) == 20
    assert played(study(book, 25))[:20] == again


def test_the_same_call_tries_the_same_from_the_start(tmp_path: Path) -> None:
    assert played(study(tmp_path / "one.json", 5)) == played(study(tmp_path / "other.json", 5))


def test_the_users_own_sampler_chooses(book: Path) -> None:
    def tried(number: int) -> list[dict[str, Any]]:
        sampler = optuna.samplers.RandomSampler(seed=number)
        return played(study(book.with_name(f"{number}.json"), 3, sampler=sampler))

    assert tried(1) != tried(2)
    expected = (
        optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
        .ask({RATE: FloatDistribution(0.01, 1.0, log=True)})
        .params[RATE]
    )
    assert tried(1)[0][RATE] == expected


def test_values_that_optuna_does_not_know_are_tried_as_they_are(book: Path) -> None:
    widths = [[16], [32, 16]]

    search = study(book, 6, {"model.parameters": [{"widths": each} for each in widths]})

    tried = []
    while combination := search.ask():
        tried.append(combination.trials[0].task["model.parameters"])
        search.tell(combination, [0.5])
    assert all(parameters["widths"] in widths for parameters in tried)


def test_what_failed_is_known_and_not_the_best(book: Path) -> None:
    search = study(book, 2)

    for values in ([], [0.1]):
        combination = search.ask()
        assert combination
        search.tell(combination, values)

    assert [trial.state.name for trial in search.study.trials] == ["FAIL", "COMPLETE"]


def test_where_nothing_is_measured_there_is_nothing_to_choose_by(book: Path) -> None:
    search = study(book, 2)
    combination = search.ask()
    assert combination

    with pytest.raises(InvalidInput, match="nothing to choose by: give edges or test data"):
        search.tell(combination, [None])


@pytest.mark.parametrize(
    ("over", "trials", "said"),
    [
        ({"collaboration.fuson": FloatDistribution(0, 1)}, 2, "no field 'collaboration.fuson'"),
        ({RATE: FloatDistribution(-1, 1)}, 2, "learning_rate: found -1"),
        ({"collaboration.rounds": IntDistribution(1, 10**9)}, 2, "collaboration.rounds"),
        ({RATE: 0.1}, 2, "is 0.1, which is neither a list of values nor one of Optuna's distributions"),
        (OVER, 0, "trials is 0: give 1 or more"),
    ],
)
def test_what_cannot_be_run_is_refused(book: Path, over: Any, trials: int, said: str) -> None:
    with pytest.raises(CloudedgeError) as refused:
        study(book, trials, over)

    assert said in str(refused.value)


def test_a_book_that_somebody_spoiled_is_named(book: Path) -> None:
    played(study(book, 2))
    book.write_text("{}}")

    with pytest.raises(CloudedgeError, match=str(book)):
        study(book, 2)


@pytest.mark.parametrize("sampler", ["random", optuna.samplers.RandomSampler(seed=1)])
def test_a_sampler_does_not_draw_again_what_it_drew_before(book: Path, sampler: Any) -> None:
    played(study(book, 3, sampler=sampler))

    again = played(study(book, 6, sampler=sampler))

    assert len({values[RATE] for values in again}) == 6


def test_what_is_no_sampler_is_refused(book: Path) -> None:
    with pytest.raises(InvalidInput, match="sampler is 'best': give tpe, random, or one of Optuna's samplers"):
        study(book, 3, sampler="best")
