"""A meta model is trained once enough searches were added, and leads if it is no worse on those that it never saw."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from cloud.faults import Faults
from cloud.inboxes import DirectoryInboxes
from cloud.runs.events import events
from cloud.runs.lifecycle import cancel
from cloud.runs.run import Run
from cloud.searches import meta_models
from cloud.step import Step
from cloud.tracking import TrackingLog
from cloudedge.automl.meta.files import SHIPPED
from cloudedge.automl.meta.model import MetaModel
from cloudedge.automl.meta.training import examples
from cloudedge.documents.automl import TraceRow
from cloudedge.documents.tasks.automl_meta import AutomlMetaTask
from cloudedge.errors import Cancelled, InvalidInput, NotFound
from cloudedge.store import DirectoryStore
from components.automl_meta.learn import step
from components.automl_meta.learn.searches import is_held_out
from components.automl_meta.learn.step import learn
from components.automl_meta.records import LearningRecord
from components.automl_meta.steps import STEPS
from components.begin.step import begin_run
from components.register.step import register_model
from components.report.step import report_run
from tests.cloud.searches.rows import SMALLEST, happened, keep


def surprising(count: int, device: str = "hall-1") -> Sequence[TraceRow]:
    """Searches that ended otherwise than the meta model in use foretells."""
    return happened(count, device=device, best=SMALLEST)


def task(**changes: Any) -> AutomlMetaTask:
    known = {"name": "Meta model", "id": "meta-1", "every_rows": 50, "simulated_searches": 60}
    return AutomlMetaTask(**{**known, **changes})


def learned(**changes: Any) -> LearningRecord:
    asked = task(**changes)
    begin_run(asked)
    return learn(asked.id)


def tracked(store: DirectoryStore, run: str = "meta-1") -> dict[str, float]:
    (record,) = TrackingLog(store, run).read("learn").records
    return {point.key: point.value for point in record.metrics}


def test_before_enough_searches_were_added_nothing_is_trained_and_the_run_ends_well(store: DirectoryStore) -> None:
    keep(store, happened(49))

    record = learned()

    assert record.trained is None
    assert record.verdict == (
        "No new meta model is due, and none was trained: 49 searches came since the last training, and every_rows is 50."
    )
    assert meta_models.newest(store) is None
    assert register_model("meta-1") == ""
    page = report_run("meta-1")
    assert "<h1>49 searches on 1 device: no new meta model is due.</h1>" in page
    assert Run(store, "meta-1").state().state == "finished"  # type: ignore[union-attr]
    assert tracked(store) == {"searches": 49, "searches_added": 49}


def test_without_any_search_there_is_a_report_too(store: DirectoryStore) -> None:
    assert learned().searches == 0
    assert register_model("meta-1") == ""
    assert "0 searches on 0 devices" in report_run("meta-1")


def test_enough_searches_make_a_meta_model_that_leads(store: DirectoryStore, tmp_path: Path) -> None:
    rows = surprising(60)
    keep(store, rows)

    record = learned()

    held_out = sum(is_held_out(row) for row in rows)
    assert record.passed
    assert record.trained is not None
    assert (record.trained.rows, record.trained.simulated_rows, record.trained.held_out) == (60 - held_out, 60, held_out)
    newest = meta_models.newest(store)
    assert newest == record.trained.stored == meta_models.of_run(store, "meta-1")
    assert newest is not None
    assert newest.searches == 60
    meta_models.bring(store, newest, tmp_path / "newest")
    card = MetaModel.load(tmp_path / "newest").card
    assert (card.rows, card.simulated_rows) == (120 - held_out, 60)
    assert card.trained_on.startswith(f"{60 - held_out} searches on 1 device, each of which counts as 3, and 60 simulated")
    assert re.fullmatch(
        rf"Gate passed: on {held_out} searches that none learned from, the mean negative log-likelihood of the best sizes is "
        r"0\.\d+ by the new meta model, and \d+\.\d+ by the one that comes with cloudedge. The new one leads from now on.",
        record.verdict,
    )


def test_one_that_foretells_held_out_searches_worse_is_refused(store: DirectoryStore) -> None:
    keep(store, happened(60))  # Which the one that comes with cloudedge knows far better.

    record = learned()

    assert not record.passed
    assert record.verdict.startswith("Gate refused: on ")
    assert meta_models.newest(store) is None
    assert register_model("meta-1") == ""
    assert "refused" in [event.action for _, event in events(store, "meta-1")]
    page = report_run("meta-1")
    assert "the gate refused the new meta model" in page
    with pytest.raises(NotFound, match="did not pass its gate"):
        meta_models.of_run(store, "meta-1")
    assert learned(id="meta-2").trained is None, "the same searches would give the same"


def test_the_gate_compares_likelihoods_on_what_none_learned_from(store: DirectoryStore) -> None:
    rows = happened(60)
    keep(store, rows)

    record = learned()

    held_out = examples(row for row in rows if is_held_out(row))
    assert record.trained is not None
    assert record.trained.judged is not None
    assert record.trained.in_use == step._judged(MetaModel.load(), held_out)
    assert record.passed is (record.trained.judged.surprise <= record.trained.in_use.surprise)


def test_of_too_few_held_out_searches_the_gate_says_so_and_lets_it_pass(store: DirectoryStore) -> None:
    rows = [row for row in happened(40) if not is_held_out(row)][:12]
    keep(store, rows)

    record = learned(every_rows=12)

    assert record.passed
    assert record.trained is not None
    assert record.trained.judged is None
    assert "none can be held out, too few to judge by" in record.verdict


def test_the_next_one_is_due_after_as_many_more_and_is_compared_with_the_newest(store: DirectoryStore) -> None:
    keep(store, surprising(60))
    assert learned().passed
    keep(store, happened(49, device="hall-2"))
    second = learned(id="meta-2")
    assert (second.added, second.trained) == (49, None)
    keep(store, happened(50, device="hall-2"))

    record = learned(id="meta-3")

    assert record.added == 50
    assert record.trained is not None
    assert record.trained.compared_with == "meta-1"
    assert "by the one in use, of run meta-1" in record.verdict
    newest = meta_models.newest(store)
    assert newest is not None
    assert newest.run == ("meta-3" if record.passed else "meta-1")


def test_a_newest_one_that_cannot_be_used_here_leads_nothing(store: DirectoryStore, capsys: Any) -> None:
    keep(store, happened(60))
    first = meta_models.put(store, SHIPPED, run="meta-0")
    meta_models.settle(store, first)
    store.put(first.card.key, b"{}")

    record = learned()

    assert record.trained is not None
    assert record.trained.compared_with == ""
    assert "The newest meta model, of run meta-0, cannot be used, so the shipped one" in capsys.readouterr().out


def test_repeated_it_changes_nothing_and_finishes_what_was_interrupted(store: DirectoryStore, monkeypatch: Any) -> None:
    keep(store, surprising(60))
    with monkeypatch.context() as patched:
        patched.setattr(meta_models, "settle", interrupted)
        with pytest.raises(KeyboardInterrupt):
            learned()
    assert meta_models.newest(store) is None
    keep(store, happened(5, device="hall-2"))

    record = learn("meta-1")

    assert record.searches == 60
    assert record.trained is not None
    assert meta_models.newest(store) == record.trained.stored
    assert learn("meta-1") == record


def interrupted(*_: Any) -> None:
    raise KeyboardInterrupt


def test_a_run_that_is_cancelled_trains_no_further(store: DirectoryStore, tmp_path: Path, monkeypatch: Any) -> None:
    keep(store, happened(60))
    real = Step.say

    def say(work: Step, text: str) -> None:
        real(work, text)
        if "was tried" in text:
            cancel(store, DirectoryInboxes(tmp_path / "inboxes"), work.run.id, "a test", Faults())

    monkeypatch.setattr(Step, "say", say)

    with pytest.raises(Cancelled):
        learned()

    assert meta_models.newest(store) is None


def test_the_same_searches_give_the_same_bytes(store: DirectoryStore) -> None:
    keep(store, happened(60))
    first, second = learned(every_rows=0), learned(id="meta-2", every_rows=0)

    assert first.trained is not None
    assert second.trained is not None
    assert first.trained.stored.weights == second.trained.stored.weights
    assert learned(id="meta-3", every_rows=0, row_weight=1).trained.stored.weights != first.trained.stored.weights  # type: ignore[union-attr]


def test_what_is_passed_over_is_named_and_counted(store: DirectoryStore, capsys: Any) -> None:
    for number in range(1, 24):
        store.put(f"automl/trace/search.search.hall-1.{number}.json", b"{")

    record = learned()

    assert (record.searches, record.passed_over) == (0, 23)
    said = capsys.readouterr().out
    assert "automl/trace/search.search.hall-1.1.json is passed over: it cannot be read" in said
    assert "And 3 more entries of the trace are passed over." in said


def test_too_few_searches_to_learn_from_are_an_error_with_the_way_out(store: DirectoryStore) -> None:
    keep(store, happened(10))

    with pytest.raises(InvalidInput, match="a meta model is trained on 50 or more"):
        learned(every_rows=0, simulated_searches=0)


def test_a_device_that_is_called_as_the_simulated_ones_has_searches_that_happened(store: DirectoryStore) -> None:
    keep(store, happened(60, device="simulated"))

    record = learned()

    assert record.trained is not None
    assert record.trained.simulated_rows == 60
    assert json.loads(store.get(record.trained.stored.card.key, 1 << 20))["simulated_rows"] == 60


def test_what_passed_is_registered_with_its_figures(store: DirectoryStore) -> None:
    keep(store, surprising(60))
    record = learned(model_name="sizes")
    assert record.trained is not None
    assert record.trained.judged is not None
    assert record.trained.in_use is not None

    assert register_model("meta-1") == "sizes"

    registration = TrackingLog(store, "meta-1").read("register").registration
    assert registration is not None
    assert (registration.model_key, registration.sha256) == (
        record.trained.stored.weights.key,
        record.trained.stored.weights.sha256,
    )
    assert registration.aliases == ("champion",)
    assert registration.input_shape == (len(MetaModel.load().card.features),)
    assert registration.classes[:3] == ("layers=1", "layers=2", "layers=3")
    assert "loss=focal" in registration.classes
    assert registration.tags == {
        "cloudedge.searches": str(record.trained.rows),
        "cloudedge.simulated_searches": "60",
        "cloudedge.held_out_searches": str(record.trained.held_out),
        **{f"cloudedge.agreement.{name}": f"{value:.4f}" for name, value in record.trained.agreement.items()},
        "cloudedge.held_out_nll": f"{record.trained.judged.surprise:.4f}",
        "cloudedge.held_out_nll_in_use": f"{record.trained.in_use.surprise:.4f}",
        "cloudedge.compared_with": "shipped",
    }
    assert "that happened and 60 simulated ones." in registration.description
    figures = tracked(store)
    assert figures["held_out_nll/new"] == record.trained.judged.surprise
    assert figures["held_out_nll/in_use"] == record.trained.in_use.surprise
    assert figures["agreement/layers"] == record.trained.agreement["layers"]
    assert TrackingLog(store, "meta-1").read("learn").files == {"meta.json": record.trained.stored.card.key}


def test_the_report_tells_the_searches_the_gate_and_what_was_learned(store: DirectoryStore) -> None:
    keep(store, [*surprising(40), *surprising(25, device="hall-2")])
    record = learned()
    assert record.trained is not None
    assert record.trained.judged is not None
    assert record.trained.in_use is not None

    page = report_run("meta-1")

    assert "<h1>65 searches on 2 devices: a new meta model leads.</h1>" in page
    for title in ("The gate", "What the new meta model has learned", "The searches that happened"):
        assert f"<h2>{title}</h2>" in page
    assert '<th scope="row">hall-2</th><td class="number">25</td><td class="number">25</td><td class="number">0</td>' in page
    new, old = record.trained.judged.surprise, record.trained.in_use.surprise
    assert f'<td class="number">{new:.3f}</td><td class="number">{old:.3f}</td>' in page
    assert "<dt>Searches since</dt><dd>2026-01-01</dd>" in page


def test_a_run_that_has_not_learned_cannot_end_and_has_a_report_all_the_same(store: DirectoryStore) -> None:
    begin_run(task())

    with pytest.raises(NotFound, match="has not looked at the searches yet"):
        report_run("meta-1")
    assert "A training of the meta model of searches." in STEPS.report(Run(store, "meta-1")).page()
