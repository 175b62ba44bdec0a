"""What holds for every kind of work, those that installed packages offer included: one document, one file at the edge."""

import json
import os
import shutil
import signal
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cloudedge.documents import Envelope, Manifest, Order, Phase, RemoteFile, UploadTarget, order_id, parse
from cloudedge.documents.base import STORED
from cloudedge.documents.report import MOST_POINTS
from cloudedge.errors import InvalidDocument
from cloudedge.names import sha256_of
from edge.folders import Folders
from edge.runner.points import WINDOW
from tests.edge.kinds.tally.document import Tallied, Tally
from tests.edge.site import MODEL, Site, write_samples
from tests.waiting import until

ROOT = Path(__file__).parents[3]
LINES = ["the quick brown fox", "jumps", "over the lazy dog"]
KINDS = ["train", "evaluate", "tally"]

Offer = Callable[[str, str], None]


@pytest.fixture
def offer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Offer:
    """Installs a package whose entry point offers a kind, here and for all processes that are started from now on."""

    def install(kind: str, package: str) -> None:
        folder = tmp_path / f"installed-{kind}"
        metadata = folder / f"own_{kind}-1.0.dist-info"
        metadata.mkdir(parents=True)
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: own-{kind}\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text(f"[cloudedge.kinds]\n{kind} = {package}\n")
        monkeypatch.syspath_prepend(folder)
        paths = [str(ROOT), str(folder), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))

    return install


@pytest.fixture
def tally(offer: Offer) -> None:
    """The kind of this folder is installed."""
    offer("tally", "tests.edge.kinds.tally")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """An edge whose runner has a fork server of its own, as a shared one would not know what is installed since."""
    site = Site(tmp_path)
    write_samples(site.samples / "first.jsonl")
    return site


def to_tally(site: Site, number: int = 1, lines: list[str] = LINES, **asked: Any) -> Order:
    name = order_id("run", str(number), "edge-1", 1)
    path = site.cloud / f"text-{number}"
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(lines))
    file = RemoteFile(url=path.as_uri(), sha256=sha256_of(path), size=path.stat().st_size)
    outputs = {each: site.target(name, each) for each in ("counts", "longest")}
    return site.order(number, work=Tally(**asked), inputs={"text": file}, outputs=outputs)


def order_of(site: Site, kind: str, number: int = 1) -> Order:
    if kind == "tally":
        return to_tally(site, number)
    return site.order(number, kind, inputs={"base": site.base()})


def sent(site: Site, order: Order) -> dict[str, str]:
    """Digest of each output in the cloud, by name."""
    return {name: sha256_of(in_cloud(target)) for name, target in order.outputs.items()}


def in_cloud(target: UploadTarget) -> Path:
    return Path(target.url.removeprefix("file://"))


@pytest.mark.usefixtures("tally")
@pytest.mark.parametrize("kind", KINDS)
def test_an_order_ends_with_its_outputs_its_points_and_the_manifest_that_is_about_them(site: Site, kind: str) -> None:
    order = order_of(site, kind)
    site.want(order)
    with site.running():
        report = site.finish(order)
    manifest = site.manifest(order)
    assert manifest.result.kind == kind
    assert {name: file.sha256 for name, file in manifest.outputs.items() if name != "history"} == sent(site, order)
    assert [stream.done for stream in report.progress] == [stream.total for stream in report.progress]
    assert report.share == 1
    assert manifest.points == len(report.points)
    if report.points:
        assert site.history(order) == report.points
        assert [point.sequence for point in report.points] == list(range(manifest.points))


@pytest.mark.usefixtures("tally")
@pytest.mark.parametrize("kind", KINDS)
def test_an_order_that_is_issued_again_is_done_to_the_same_bytes(site: Site, kind: str) -> None:
    order = order_of(site, kind)
    site.want(order)
    with site.running():
        site.finish(order)
        first = sent(site, order)
        for name in (*order.outputs, "history.json", "manifest.json", "report.json"):
            (site.cloud / order.id / name).unlink(missing_ok=True)
        for target in order.outputs.values():
            in_cloud(target).unlink(missing_ok=True)
        again = order.model_copy(update={"issued_at": order.issued_at + timedelta(seconds=1)})
        site.want(again)
        site.finish(again)
    assert sent(site, again) == first


@pytest.mark.usefixtures("tally")
def test_a_kind_of_an_installed_package_says_what_came_of_it(site: Site) -> None:
    order = to_tally(site)
    site.want(order)
    with site.running():
        report = site.finish(order)
    assert site.manifest(order).result == Tallied(lines=3, words=9)
    assert json.loads((site.cloud / order.id / "counts").read_bytes())["the"] == 2
    assert (site.cloud / order.id / "longest").read_text() == "quick"
    assert report.words() == "done, 3 of 3 lines"
    assert report.gauges == {"words": 9}


@pytest.mark.usefixtures("tally")
def test_a_report_stays_small_and_the_history_has_every_point(site: Site) -> None:
    order = to_tally(site, lines=[f"line number {number}" for number in range(1000)])
    site.want(order)
    with site.running():
        report = site.finish(order)
    assert [point.sequence for point in report.points] == [0, *range(1001 - WINDOW, 1000)]
    assert (site.cloud / order.id / "report.json").stat().st_size < 16 * 1024
    assert [point.sequence for point in site.history(order)] == list(range(1000))


@pytest.mark.usefixtures("tally")
def test_work_that_fails_tells_all_its_points_in_its_last_report(site: Site) -> None:
    order = to_tally(site, lines=[*(f"line {number}" for number in range(200)), "end"], refused="end")
    site.want(order)
    with site.running():
        report = site.finish(order, Phase.FAILED)
    assert MOST_POINTS > 200
    assert [point.sequence for point in report.points] == list(range(200))
    assert report.error is not None
    assert report.error.message == "The word 'end' stands in line 201."


@pytest.mark.usefixtures("tally")
def test_a_last_report_tells_as_many_points_as_its_place_takes(site: Site) -> None:
    order = to_tally(site, lines=[*(f"line {number}" for number in range(200)), "end"], refused="end")
    place = order.report.model_copy(update={"max_bytes": 10_000})
    site.want(order.model_copy(update={"report": place}))
    with site.running():
        report = site.finish(order, Phase.FAILED)
    told = [point.sequence for point in report.points]
    assert told == [0, *range(200 - len(told) + 1, 200)]
    assert len(told) > 20


@pytest.mark.usefixtures("tally")
def test_a_runner_that_is_killed_keeps_the_points_that_it_heard_and_hears_each_once(site: Site) -> None:
    hold = site.root / "go-on"
    order = to_tally(site, lines=[f"line {number}" for number in range(120)], hold=str(hold))
    site.want(order)
    with site.running():
        until(lambda: (report := site.report(order)) and report.points and report.points[-1].sequence == 59)
        report = site.report(order)
        assert report is not None
        heard = {point.sequence: point for point in report.points}
    hold.touch()
    with site.running():
        site.finish(order)
    history = site.history(order)
    assert [point.sequence for point in history] == list(range(120))
    assert {sequence: history[sequence] for sequence in heard} == heard


@pytest.mark.usefixtures("tally")
def test_what_work_said_to_a_runner_that_died_as_it_ended_is_not_lost(site: Site) -> None:
    hold = site.root / "go-on"
    order = to_tally(site, lines=[f"line {number}" for number in range(120)], hold=str(hold))
    site.want(order)
    with site.running() as runner:
        until(lambda: (report := site.report(order)) and report.points and report.points[-1].sequence == 59)
        runner.process.send_signal(signal.SIGSTOP)
        hold.touch()
        until(Folders(site.state).manifest(order.id).exists)
    with site.running():
        site.finish(order)
    assert [point.sequence for point in site.history(order)] == list(range(120))


@pytest.mark.usefixtures("tally")
def test_work_that_delivers_other_files_than_its_order_asks_for_fails_with_what_to_do(site: Site) -> None:
    faults: dict[str, dict[str, Any]] = {
        "made the files counts; its order's outputs are counts, longest. Make those.": {"left_out": True},
        "The output 'counts' may not be called history.json, as a file of the runner's. Rename it.": {
            "file_name": "history.json"
        },
        "The output 'counts' may not be called manifest.json": {"file_name": "manifest.json"},
        "where nothing is sent from. Write it where place_for has it.": {"file_name": "../counts.json"},
    }
    orders = [to_tally(site, number, **asked) for number, asked in enumerate(faults.values(), 1)]
    site.want(*orders)
    with site.running():
        for order, fault in zip(orders, faults, strict=True):
            report = site.finish(order, Phase.FAILED)
            assert report.error is not None
            assert fault in report.error.message


@pytest.mark.usefixtures("tally")
def test_work_that_says_what_is_the_runners_to_say_fails_alone(site: Site) -> None:
    phases = [Phase.ACCEPTED, Phase.UPLOADING, Phase.DONE, Phase.FAILED, Phase.CANCELLED]
    orders = [to_tally(site, number, claimed=phase) for number, phase in enumerate(phases, 1)]
    other = site.order(len(phases) + 1)
    site.want(*orders, other)
    with site.running():
        for order in orders:
            report = site.finish(order, Phase.FAILED)
            assert report.error is not None
            assert "ValidationError: 1 validation error for Message\nphase\n" in report.error.message
        site.finish(other)


@pytest.mark.usefixtures("tally")
def test_an_order_that_was_accepted_fails_by_its_reason_once_its_kind_is_gone(site: Site) -> None:
    order = to_tally(site, hold=str(site.root / "never"))
    site.want(order)
    with site.running():
        until(lambda: site.phase(order) is Phase.EVALUATING)
    shutil.rmtree(site.root / "installed-tally")
    with site.running():
        report = site.finish(order, Phase.FAILED)
    assert report.error is not None
    assert report.error.message.endswith("its work cannot be read any more. Install its kind's package again.")


def test_a_runner_without_a_kind_refuses_its_order_alone(site: Site) -> None:
    other, order = site.order(2), to_tally(site)
    site.want(order, other)
    with site.running():
        report = site.finish(order, Phase.FAILED)
        site.finish(other)
    assert report.error is not None
    assert "work: found {'kind': 'tally'" in report.error.message
    assert "give one that is known here: 'deploy', 'evaluate', 'inspect-train', 'search', 'train'" in report.error.message


@pytest.mark.parametrize(
    ("package", "fault"), [("no_such_package", "ModuleNotFoundError"), ("tests.edge.kinds.leaving", "SystemExit: no GPU here")]
)
def test_a_kind_whose_package_is_broken_is_refused_alone(site: Site, offer: Offer, package: str, fault: str) -> None:
    offer("tally", package)
    other, order = site.order(2), to_tally(site)
    site.want(order, other)
    with site.running():
        report = site.finish(order, Phase.FAILED)
        site.finish(other)
    assert report.error is not None
    assert f"the kind 'tally' ({package}) cannot be loaded: {fault}" in report.error.message


@pytest.mark.parametrize(
    ("package", "fault"),
    [
        ("cloudedge.documents", "the kind 'own' (cloudedge.documents) cannot be loaded: ModuleNotFoundError"),
        ("tests.edge.kinds.wrong", "TypeError: its WORK is no cloudedge.documents.kinds.Work, derive it; mend its package"),
        ("tests.edge.kinds.greedy", "ValueError: its output 'manifest' is one that every order has, rename it"),
        ("tests.edge.kinds.listing", "TypeError: its inputs and outputs are to be sets of names, and ['counts'] is none"),
        ("tests.edge.kinds.leaving", "the kind 'own' (tests.edge.kinds.leaving) cannot be loaded: SystemExit: no GPU here"),
        ("tests.edge.kinds.unfinished", "the kind 'own' (tests.edge.kinds.unfinished) cannot be loaded: SchemaError"),
    ],
)
def test_a_package_that_does_not_offer_what_it_should_is_named(site: Site, offer: Offer, package: str, fault: str) -> None:
    offer("own", package)
    said = json.loads(site.order().to_json()) | {"work": {"kind": "own"}}
    with pytest.raises(InvalidDocument) as refused:
        parse(Order, json.dumps(said), "order")
    assert fault in str(refused.value)


@pytest.mark.usefixtures("tally")
def test_who_asks_for_an_unknown_kind_is_told_of_all_that_are_known(site: Site) -> None:
    said = json.loads(site.order().to_json()) | {"work": {"kind": "split"}}
    known = "'deploy', 'evaluate', 'inspect-train', 'search', 'tally', 'train'"
    with pytest.raises(InvalidDocument, match=f"give one that is known here: {known}"):
        parse(Order, json.dumps(said), "order")


@pytest.mark.parametrize(
    ("work", "fault"),
    [
        ("train", "work: found 'train'; give an object in braces"),
        ({"model": MODEL.model_dump()}, "; add its kind"),
        ({"kind": ["train"]}, "give one that is known here: 'deploy', 'evaluate', 'inspect-train', 'search', 'train'"),
        ({"kind": "train", "seed": -1}, "work.train.seed: found -1; give 0 or more"),
    ],
)
def test_what_is_wrong_with_work_is_said_where_it_stands(site: Site, work: Any, fault: str) -> None:
    said = json.loads(site.order().to_json()) | {"work": work}
    with pytest.raises(InvalidDocument) as refused:
        parse(Order, json.dumps(said), "order")
    assert fault in str(refused.value)


def test_packages_are_not_looked_for_where_a_kind_is_ours(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(**_: object) -> None:
        raise AssertionError("entry points were looked for")

    order = site.order()
    monkeypatch.setattr("cloudedge.documents.kinds.entry_points", asked)
    assert parse(Order, order.to_json(), "order") == order


@pytest.mark.usefixtures("tally")
def test_documents_of_an_installed_kind_come_back_as_they_were(site: Site) -> None:
    order = to_tally(site)
    assert Order.model_validate_json(order.model_dump_json(), context=STORED) == order
    assert Envelope.model_validate(order.model_dump()).id == order.id
    manifest = Manifest(order=order.id, edge="edge-1", result=Tallied(lines=1, words=2), seconds=1)
    assert parse(Manifest, manifest.to_json(), "manifest") == manifest
