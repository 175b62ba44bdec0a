"""What the report of a training for a production line tells and draws, as far as the run has come."""

import base64

from markupsafe import Markup

from cloud.orders.points import points_of_step
from cloud.pages import markdown
from cloud.pages.markup import element, number, table
from cloud.pages.words import count, figure, share
from cloud.reports.report import Report, ReportedModel, Story, remark, section
from cloud.runs.run import Run
from cloudedge.documents.inspection import NORMAL
from cloudedge.documents.kinds.inspect_train import InspectTrained
from cloudedge.documents.tasks.inspection_training import InspectionTrainingTask
from cloudedge.errors import CloudedgeError, InvalidInput, NotFound
from components.inspection_training.page.charts import scores_chart, training_chart
from components.inspection_training.records import TRAIN, GateRecord, gate_of, picture_key

_MOST_PICTURE_BYTES = 8 * 1024 * 1024
_KINDS = ("fused", "bad", "edge", "pretrained")


def report_of(run: Run) -> Report:
    """A run, as far as it has come."""
    task, record, trained = run.task_for(InspectionTrainingTask), gate_of(run), _trained(run)
    rows = _gate_rows(task, record) if record else []
    titles = ("On the test set", "Images", "Reached", "Asked for")
    models = []
    if record:
        models = [ReportedModel(f"{record.deployable.name} (ONNX)", record.sha256, record.deployable.size)]
    sections = (
        section("The gate", table(titles, [[row[0], *map(number, row[1:])] for row in rows])) if rows else Markup(),
        _scores(record) if record else Markup(),
        _pictures(run, record) if record else Markup(),
        _training(run),
    )
    return Report(
        Story.of(run),
        headline=_headline(task, record, trained),
        sentences=_sentences(record, trained),
        facts=_facts(task, record, trained),
        sections=[one for one in sections if one],
        tables=[markdown.table(titles, rows)] if rows else (),
        models=models,
    )


def description(run: str, task: InspectionTrainingTask, record: GateRecord, trained: InspectTrained) -> str:
    """What a person reads on the page of a registered version, in Markdown."""
    titles = ("On the test set", "Images", "Reached", "Asked for")
    form = record.deployable.image
    size = f"{form.height} x {form.width}" if form else "any"
    return "\n\n".join(
        [
            f"{task.name}: trained on the line {markdown.code(task.line)} for the brand "
            f"{markdown.code(task.training.brand)}, in run {markdown.code(run)}.",
            markdown.table(titles, _gate_rows(task, record)),
            f"`model.onnx` (sha256 {markdown.code(record.sha256)}) takes 8-bit RGB images of {size} pixels; a part whose "
            f"`score` is above {trained.threshold:.6g} is rejected. `deployable.json` has all that is needed to run it.",
        ]
    )


def _trained(run: Run) -> InspectTrained | None:
    waited = run.waited(TRAIN)
    if waited is None or not waited.delivered:
        return None
    try:
        result = run.manifest(waited.delivered[0]).result
    except CloudedgeError:  # Somebody has written into the store; the page is a page all the same.
        return None
    return result if isinstance(result, InspectTrained) else None


def _headline(task: InspectionTrainingTask, record: GateRecord | None, trained: InspectTrained | None) -> str:
    if record and record.auroc is not None:
        what = f"AUROC {share(record.auroc)} on {count(sum(record.images.values()), 'image')} of {task.training.brand}"
        return f"{what}: {'the model may be deployed' if record.passed else 'the gate refused the model'}."
    if trained:
        return f"Trained on {count(sum(trained.gathered.values()), 'image')} of {task.training.brand}."
    return f"A training for {task.training.brand} on the line {task.line}."


def _sentences(record: GateRecord | None, trained: InspectTrained | None) -> list[str]:
    said = [record.verdict] if record else []
    said += [f"Not all images of {name} arrived." for name in sorted(trained.missing)] if trained else []
    return said


def _facts(task: InspectionTrainingTask, record: GateRecord | None, trained: InspectTrained | None) -> list[tuple[str, str]]:
    facts = [("Line", task.line), ("Brand", task.training.brand)]
    if trained:
        facts += [("Images gathered", ", ".join(f"{count:,} {label}" for label, count in sorted(trained.gathered.items())))]
        facts += [("Threshold", figure(trained.threshold))]
        facts += [("Images passed over, as they cannot be read", f"{trained.passed_over:,}")] if trained.passed_over else []
        facts += [(f"Missing of {name}", why) for name, why in sorted(trained.missing.items())]
    if record and record.seconds_per_image:
        facts += [("An image in the cloud", f"{record.seconds_per_image * 1000:.1f} ms")]
    return facts


def _gate_rows(task: InspectionTrainingTask, record: GateRecord) -> list[tuple[str, str, str, str]]:
    if record.auroc is None:
        return []
    total = sum(record.images.values())
    rows = [
        ("AUROC", total, record.auroc, task.gate.auroc),
        ("AUROC by pixel", total, record.pixel_auroc, task.gate.pixel_auroc),
        ("Judged rightly", total, record.accuracy, task.gate.accuracy),
        *(
            (f"{label} judged rightly", record.images.get(label, 0), value, task.gate.recall)
            for label, value in record.recall.items()
        ),
        *((f"{label} named rightly", record.images.get(label, 0), value, 0.0) for label, value in record.named.items()),
    ]
    return [
        (name, f"{images:,}", share(value) or "no masks", share(least) if least else "") for name, images, value, least in rows
    ]


def _scores(record: GateRecord) -> Markup:
    if not record.judged:
        return Markup()
    labels = sorted({one.label for one in record.judged}, key=lambda label: (label != NORMAL, label))
    scores = {label: [one.score for one in record.judged if one.label == label] for label in labels}
    legend = element(
        "p",
        *(
            element("span", element("i", class_=_KINDS[min(index, len(_KINDS) - 1)]), label)
            for index, label in enumerate(labels)
        ),
        class_="legend",
    )
    chart = element("div", scores_chart(scores, record.deployable.threshold), class_="wide")
    return section("Scores", legend, chart, remark("A part whose score is above the threshold is rejected."))


def _pictures(run: Run, record: GateRecord) -> Markup:
    judged = {one.name: one for one in record.judged}
    figures = []
    for index, name in enumerate(record.pictures):
        one = judged.get(name)
        try:
            content = run.store.get(picture_key(run, index), _MOST_PICTURE_BYTES)
        except (NotFound, InvalidInput):
            continue
        if one is None:
            continue
        right = one.rejected == (one.label != NORMAL)
        said = f"{one.label}: {'rejected' if one.rejected else 'accepted'}, score {figure(one.score)}"
        named = f", named {one.defect}" if one.defect else ""
        source = f"data:image/png;base64,{base64.b64encode(content).decode()}"
        figures.append(
            element(
                "figure",
                element("img", src=source, alt=f"{name}, and where it differs from what is normal"),
                element("figcaption", f"{said}{named}", class_=None if right else "worse", title=name),
            )
        )
    if not figures:
        return Markup()
    return section(
        "Images of the test set",
        element("div", *figures, class_="pictures"),
        remark("Beside each image, in red, where it differs from what is normal. First those that were judged wrongly."),
    )


def _training(run: Run) -> Markup:
    points = [point for of_edge in points_of_step(run, TRAIN).values() for point in of_edge]
    panels = []
    for name, title in (("loss", "Loss"), ("accuracy", "Accuracy")):
        values = [(point.sequence, point.values[name]) for point in points if name in point.values]
        if len(values) > 1:
            panels.append(
                element("figure", element("figcaption", title), training_chart(f"training-{name}", values, f"{title} by batch"))
            )
    if not panels:
        return Markup()
    return section("Training, batch by batch", element("div", *panels, class_="panels"))
