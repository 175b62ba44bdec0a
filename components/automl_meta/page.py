"""What the report of a meta model's training tells, as far as the run has come."""

from collections import Counter
from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

from markupsafe import Markup

from cloud.pages import markdown
from cloud.pages.markup import element, number, table
from cloud.pages.words import MOST_EDGES, count, natural, share
from cloud.reports.report import Report, ReportedModel, Story, remark, section
from cloud.runs.run import Run
from cloudedge.documents.tasks.automl_meta import AutomlMetaTask
from components.automl_meta.records import LearningRecord, TrainedMetaModel, in_use, in_words, learning_of

_DEVICES = ("Device", "Searches", "Led by a meta model", "By TPE", "Found nothing", "First", "Last")
_JUDGED = ("On held-out searches", "New", "In use")
_AGREEMENT = ("Names the best choice of", "Of held-out searches", "Chance")


class _Table(NamedTuple):
    """A table of the page."""

    title: str
    titles: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    said: str

    def section(self) -> Markup:
        """It, with its title."""
        cells = [[element("th", row[0], scope="row"), *map(number, row[1:])] for row in self.rows]
        return section(self.title, table(self.titles, cells), remark(self.said))


def report_of(run: Run) -> Report:
    """A run, as far as it has come."""
    record = learning_of(run)
    if record is None:
        return Report(Story.of(run), headline="A training of the meta model of searches.")
    model = record.trained
    shown = [
        *(_of_model(model) if model else []),
        _Table("The searches that happened", _DEVICES, _rows(record), _left_out(record)),
    ]
    shown = [each for each in shown if each.rows]
    return Report(
        Story.of(run),
        headline=_headline(record),
        sentences=[record.verdict],
        facts=_facts(record),
        sections=[each.section() for each in shown],
        tables=[markdown.table(each.titles, each.rows) for each in shown],
        models=[ReportedModel("meta model", model.stored.weights.sha256, model.stored.weights.size)] if model else [],
    )


def description(run: str, task: AutomlMetaTask, record: LearningRecord, model: TrainedMetaModel) -> str:
    """What a person reads on the page of a registered version, in Markdown."""
    return "\n\n".join(
        [
            f"{task.name}: a meta model of searches on devices, trained in run {markdown.code(run)} on "
            f"{in_words(model.rows)} that happened and {model.simulated_rows:,} simulated ones.",
            record.verdict,
            markdown.table(_AGREEMENT, _agreement_rows(model)),
            f"`model.safetensors` (sha256 {markdown.code(model.stored.weights.sha256)}): {_form(model)}. It sees standardised "
            "features, whose statistics are in the run's artifact `meta.json`.",
        ]
    )


def _of_model(model: TrainedMetaModel) -> list[_Table]:
    gate = f"In use is {in_use(model)}. Of a negative log-likelihood less is better."
    learned = "Of searches that were held out of its training, simulated ones among them. Chance is the share by drawing lots."
    return [
        _Table("The gate", _JUDGED, _judged_rows(model), gate),
        _Table("What the new meta model has learned", _AGREEMENT, _agreement_rows(model), learned),
    ]


def _headline(record: LearningRecord) -> str:
    happened = f"{in_words(record.searches)} on {count(len(record.devices), 'device')}"
    if record.trained is None:
        return f"{happened}: no new meta model is due."
    return f"{happened}: {'a new meta model leads' if record.passed else 'the gate refused the new meta model'}."


def _facts(record: LearningRecord) -> list[tuple[str, str]]:
    facts = [("Added since the last training", f"{record.added:,}")]
    if record.devices:
        facts.insert(0, ("Searches since", f"{min(each.first for each in record.devices.values()):%Y-%m-%d}"))
    if record.passed_over:
        facts.append(("Entries of the trace passed over", f"{record.passed_over:,}"))
    if record.trained:
        facts += [
            ("Learned from", f"{record.trained.rows:,} that happened, {record.trained.simulated_rows:,} simulated"),
            ("Held out for the gate", f"{record.trained.held_out:,}"),
            ("Network", _form(record.trained)),
        ]
    return facts


def _form(model: TrainedMetaModel) -> str:
    return f"{count(model.layers, 'hidden layer')} of {count(model.width, 'neuron')}"


def _rows(record: LearningRecord) -> list[tuple[str, ...]]:
    found = [
        (name, each.searches, each.meta, each.tpe, each.nothing, f"{each.first:%Y-%m-%d}", f"{each.last:%Y-%m-%d}")
        for name, each in islice(sorted(record.devices.items(), key=lambda item: natural(item[0])), MOST_EDGES)
    ]
    if len(record.devices) > 1:
        all_of = record.devices.values()
        found.append(
            (
                "all",
                record.searches,
                sum(each.meta for each in all_of),
                sum(each.tpe for each in all_of),
                sum(each.nothing for each in all_of),
                f"{min(each.first for each in all_of):%Y-%m-%d}",
                f"{max(each.last for each in all_of):%Y-%m-%d}",
            )
        )
    return [tuple(f"{cell:,}" if isinstance(cell, int) else cell for cell in row) for row in found]


def _left_out(record: LearningRecord) -> str:
    more = len(record.devices) - MOST_EDGES
    said = f"And {count(more, 'more device')}. " if more > 0 else ""
    return f"{said}TPE leads where a device, its queue or its limits are beyond what the meta model of the moment had seen."


def _judged_rows(model: TrainedMetaModel) -> list[tuple[str, str, str]]:
    new, old = model.judged, model.in_use
    if new is None or old is None:
        return []
    return [
        ("Negative log-likelihood of the best sizes, nats", f"{new.surprise:.3f}", f"{old.surprise:.3f}"),
        *((f"Names the best {name}", share(value), share(old.agreement.get(name))) for name, value in new.agreement.items()),
    ]


def _agreement_rows(model: TrainedMetaModel) -> list[tuple[str, str, str]]:
    heads = Counter(choice.partition("=")[0] for choice in model.choices)
    return [(name, share(value), share(1 / heads[name])) for name, value in model.agreement.items()]
