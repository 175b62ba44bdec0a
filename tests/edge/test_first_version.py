"""An edge of this version at work for a cloud of the first one, which reads no other form than that of its time."""

import json
from pathlib import Path
from typing import Any

from cloudedge.documents import Order, Training, parse
from edge.runner.points import WINDOW
from tests.edge.site import Site, write_samples
from tests.waiting import until

FIRST = Path(__file__).parents[1] / "versions" / "0.1.0"
LONG = Training(epochs=WINDOW + 10, batch_size=32, learning_rate=0.01)


def as_of_the_first_version(order: Order) -> dict[str, Any]:
    """An order as version 0.1 wrote it."""
    said: dict[str, Any] = json.loads(order.to_json())
    work, outputs, step = said.pop("work"), said.pop("outputs"), said.pop("step")
    del said["history"]
    return {**said, **work, "schema_version": 1, "round": int(step), "result": outputs.get("model")}


def written(site: Site, order: Order, name: str) -> dict[str, Any]:
    """What the edge wrote into the cloud's store, as it stands there."""
    found: dict[str, Any] = json.loads((site.cloud / order.id / name).read_bytes())
    return found


def fields_in(name: str) -> dict[str, Any]:
    said: dict[str, Any] = json.loads((FIRST / name).read_bytes())
    return {key: sorted(value) if key == "scores" else type(value).__name__ for key, value in said.items()}


def test_a_cloud_of_the_first_version_gets_reports_and_a_manifest_of_its_time_with_the_whole_history(site: Site) -> None:
    order = site.order(training=LONG)
    site.want_as_written(as_of_the_first_version(order))
    with site.running():
        site.finish(order)
    report, manifest = written(site, order, "report.json"), written(site, order, "manifest.json")
    assert [report["schema_version"], manifest["schema_version"]] == [1, 1]
    for found, name in ((report, "report-done.json"), (manifest, "manifest.json")):
        said = fields_in(name)
        assert {key: sorted(found[key]) if key == "scores" else type(found[key]).__name__ for key in found} == said
        assert [epoch["epoch"] for epoch in found["history"]] == list(range(LONG.epochs + 1))
        assert [epoch["scores"]["samples"] for epoch in found["history"]] == [10] * (LONG.epochs + 1)
    assert report["history"] == manifest["history"]
    assert (report["epoch"], report["epochs"], report["samples"]) == (LONG.epochs, LONG.epochs, 30)
    assert manifest["scores"]["base"]["accuracy"] == manifest["history"][0]["scores"]["accuracy"]
    assert not (site.cloud / order.id / "history.json").exists()


def test_a_cloud_of_the_first_version_hears_how_far_an_epoch_is(site: Site) -> None:
    write_samples(site.samples / "many.jsonl", 4000, seed=2)
    order = site.order(training=Training(epochs=50, batch_size=1))
    site.want_as_written(as_of_the_first_version(order))
    report: dict[str, Any] = {}

    def is_within_an_epoch() -> bool:
        if (site.cloud / order.id / "report.json").exists():
            report.update(written(site, order, "report.json"))
        return bool(report.get("batch"))

    with site.running():
        until(is_within_an_epoch)
    assert (report["epoch"] >= 1, report["epochs"], report["batches"]) == (True, 50, 3030)
    assert 0 < report["batch"] <= report["batches"]
    assert isinstance(report["loss"], float)


def test_a_cloud_of_the_first_version_gets_the_scores_that_it_asked_for(site: Site) -> None:
    order = site.order(kind="evaluate", inputs={"base": site.base()})
    site.want_as_written(as_of_the_first_version(order))
    with site.running():
        site.finish(order)
    manifest = written(site, order, "manifest.json")
    assert (manifest["schema_version"], manifest["model_sha256"], manifest["history"]) == (1, None, [])
    assert manifest["scores"]["base"]["samples"] == 10


def test_an_order_of_the_first_version_is_read_as_it_was_issued(site: Site) -> None:
    order = site.order()
    found = parse(Order, json.dumps(as_of_the_first_version(order)), "order", stored=True)
    assert found == order.model_copy(update={"schema_version": 1, "history": None})
