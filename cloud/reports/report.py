"""The run report: one HTML page, nothing outside it.

The figures come first, then what the system draws, then where the time went, at last what a machine would want: task and
digests. A section without data is left out, so the page of a run that failed half-way is a page all the same.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import NamedTuple

from markupsafe import Markup

from cloud.pages.markdown import code
from cloud.pages.markup import element, joined, number, table
from cloud.pages.words import count, duration, size
from cloud.reports.timeline import event_table, spans, timeline
from cloud.runs.events import events
from cloud.runs.run import Run
from cloud.runs.step_records import RunState
from cloud.tracking import trouble_of
from cloudedge.documents import Event, Task


class ReportedModel(NamedTuple):
    """A model of the run; its size is in bytes."""

    name: str
    sha256: str
    size: int


@dataclass(frozen=True)
class Story:
    """What every report tells of a run, read from its objects once."""

    id: str
    task: Task
    state: RunState | None
    events: tuple[Event, ...]
    mlflow: str
    """What MLflow did not take, why, and what mends it; empty if nothing."""

    @classmethod
    def of(cls, run: Run) -> "Story":
        """Read a run.

        Raises:
            NotFound: there is no such run.
            StoreFailed: the store does not do its work.
        """
        trouble = trouble_of(run.store, run.id)
        return cls(
            id=run.id,
            task=run.task(),
            state=run.state(),
            events=tuple(event for _, event in events(run.store, run.id)),
            mlflow=trouble.message if trouble else "",
        )


@dataclass(frozen=True)
class Report:
    """What a system says and draws of a run.

    Attributes:
        headline: The run in one sentence, with its figures.
        sentences: What follows from the figures.
        facts: What was run, by name, at a glance.
        sections: What is drawn, each with its title; empty ones are left out.
        tables: The same in Markdown, for the run's page in MLflow.
        models: Models of the run, in the order in which they were made.
    """

    story: Story
    headline: str
    sentences: Sequence[str] = ()
    facts: Sequence[tuple[str, str]] = ()
    sections: Sequence[Markup] = ()
    tables: Sequence[str] = ()
    models: Sequence[ReportedModel] = field(default=())

    def page(self) -> str:
        """Draw the run, as far as it has come.

        Returns:
            An HTML page in UTF-8; the same run gives the same page.
        """
        story = self.story
        sections = (*self.sections, _time(story), _to_look_up(story, self.models))
        style = files("cloud.reports").joinpath("page.css").read_text("utf-8")
        head = element(
            "head",
            element("meta", charset="utf-8"),
            element("meta", name="viewport", content="width=device-width, initial-scale=1"),
            element("title", f"{story.task.name}: run report"),
            element("style", Markup(style)),  # noqa: S704  # A file of ours.
        )
        top = element(
            "header",
            element("p", story.task.name, class_="name"),
            element("h1", self.headline),
            _verdict(story, [*self.sentences, *_standing(story)]),
            _facts(story, self.facts),
        )
        body = element("body", element("main", top, *(one for one in sections if one)))
        return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"

    def note(self) -> str:
        """The report in short, for the run's page in MLflow: the same sentences and figures, in Markdown."""
        story = self.story
        parts = [
            f"**{story.task.name}.** {self.headline}",
            " ".join([*self.sentences, *_standing(story)]),
            *self.tables,
            f"The whole report is among the artifacts: `report.html`. On a terminal: {code(f'cloudedge report {story.id}')}.",
        ]
        return "\n\n".join(part for part in parts if part)


def section(title: str, *content: str) -> Markup:
    """A part of the page, with its title."""
    return element("section", element("h2", title), *content)


def remark(*sentences: str) -> Markup:
    """What is to be known of a drawing; nothing if there is nothing."""
    text = " ".join(sentence for sentence in sentences if sentence)
    return element("p", text, class_="note") if text else Markup()


def _standing(story: Story) -> list[str]:
    state = story.state.state if story.state else ""
    return {"finished": ["Run finished."], "running": ["Run in progress."]}.get(state, [])


def _verdict(story: Story, told: Sequence[str]) -> Markup:
    """The sentences; why the run failed, if it did; and what MLflow lacks, unless that is said already."""
    said = element("p", " ".join(told), class_="verdict") if told else Markup()
    if story.state and story.state.state in ("failed", "cancelled", "stopped"):
        said = joined([said, element("p", element("b", f"Run {story.state.state}. "), story.state.message, class_="alert")])
    if story.mlflow and not any(story.mlflow in sentence for sentence in told):
        said = joined([said, element("p", story.mlflow, class_="alert")])
    return said


def _facts(story: Story, facts: Sequence[tuple[str, str]]) -> Markup:
    pairs = [("Run", story.id), *facts]
    if story.events:
        pairs += [
            ("Began", f"{story.events[0].at:%Y-%m-%d %H:%M} UTC"),
            ("Time at work", duration(sum(span.seconds for span in spans(story.events)))),
        ]
    return element("dl", *(element("div", element("dt", name), element("dd", value)) for name, value in pairs))


def _time(story: Story) -> Markup:
    if len(story.events) < 2:
        return Markup()
    log = element(
        "details", element("summary", f"Operation log: {count(len(story.events), 'operation')}"), event_table(story.events)
    )
    return section(
        "Where the time went",
        timeline(story.events),
        remark("Each step counts from the end of the one before it, so what the engine needs to start it is included."),
        log,
    )


def _to_look_up(story: Story, models: Iterable[ReportedModel]) -> Markup:
    details = []
    rows = [
        [element("td", name), element("td", element("code", sha256)), number(size(length))] for name, sha256, length in models
    ]
    if rows:
        head = ["Model", "SHA-256 of its file", element("th", "Size", class_="number")]
        details.append(element("details", element("summary", "Models and their digests"), table(head, rows, "digests")))
    task = element("pre", story.task.to_json().decode())
    details.append(element("details", element("summary", "The task"), element("div", task, class_="scroll")))
    return section("To look up", *details)
