"""A store that refuses, delays, cuts off or forgets: over real HTTP."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from cloudedge.documents import Order, Phase, Report, Training, UploadTarget, parse
from tests.edge.site import Site
from tests.waiting import PATIENCE, until


@dataclass
class Store:
    """An object store that answers as a test wants it to."""

    objects: dict[str, bytes] = field(default_factory=dict)
    faults: dict[str, list[str]] = field(default_factory=dict)
    puts: list[str] = field(default_factory=list)
    release: threading.Event = field(default_factory=threading.Event)
    url: str = ""

    def fault(self, path: str) -> str | None:
        """The next fault of an object; the last one stays."""
        left = self.faults.get(path, [])
        return (left.pop(0) if len(left) > 1 else left[0]) if left else None


class Handler(BaseHTTPRequestHandler):
    """Serves GET with ranges and PUT with If-None-Match."""

    store: Store

    def do_GET(self) -> None:
        name = self.path.strip("/")
        fault = self.store.fault(f"GET {name}")
        content = self.store.objects.get(name)
        if fault == "500" or content is None:
            self.send_error(500 if content is not None else 404)
            return
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        part = content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part[: len(part) // 2] if fault == "half" else part)

    def do_PUT(self) -> None:
        name = self.path.strip("/")
        content = self.rfile.read(int(self.headers["Content-Length"]))
        fault = self.store.fault(f"PUT {name}")
        self.store.puts.append(name)
        if fault == "hang":
            self.store.release.wait(PATIENCE)
        if fault == "500":
            self.send_error(500)
        elif fault == "405":
            self.send_error(405)
        elif name in self.store.objects and self.headers.get("If-None-Match") == "*":
            self.send_error(412)
        else:
            self.store.objects[name] = content
            if fault == "lost answer":
                self.close_connection = True
            else:
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing."""


@pytest.fixture
def store(site: Site) -> Iterator[Store]:
    store = Store()
    handler = type("Bound", (Handler,), {"store": store})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        store.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        base = site.base()
        store.objects["base"] = (site.cloud / "base.safetensors").read_bytes()
        assert base.size == len(store.objects["base"])
        yield store
        store.release.set()
        server.shutdown()
        thread.join()


def order_at(site: Site, store: Store, **changes: Any) -> Order:
    def target(name: str, *, once: bool = True) -> UploadTarget:
        headers = {"If-None-Match": "*"} if once else {}
        return UploadTarget(url=f"{store.url}/{name}", headers=headers, max_bytes=10_000_000, once=once)

    base = site.base().model_copy(update={"url": f"{store.url}/base"})
    targets = {"report": target("report", once=False), "outputs": {"model": target("model")}, "manifest": target("manifest")}
    return site.order(**{"inputs": {"base": base}, **targets, **changes})


def report(store: Store) -> Report | None:
    content = store.objects.get("report")
    return parse(Report, content, "report") if content else None


def finish(store: Store, phase: Phase = Phase.DONE) -> Report:
    until(lambda: (found := report(store)) and found.phase.over)
    found = report(store)
    assert found is not None
    assert found.phase is phase
    return found


def test_errors_and_half_bodies_delay_the_work_only(site: Site, store: Store) -> None:
    store.faults = {"GET base": ["500", "half", "half", ""], "PUT model": ["500", ""], "PUT manifest": ["500", ""]}
    order = order_at(site, store)
    site.want(order)
    with site.running():
        finish(store)
    assert {"base", "model", "manifest", "report"} == set(store.objects)
    assert store.puts.index("model") < store.puts.index("manifest")


def test_a_written_object_whose_answer_was_lost_counts_as_written(site: Site, store: Store) -> None:
    store.faults = {"PUT model": ["lost answer", ""], "PUT manifest": ["lost answer", ""]}
    site.want(order_at(site, store))
    with site.running():
        finish(store)
    assert store.puts.count("manifest") == 2


def test_a_store_that_hangs_holds_up_neither_work_nor_cancel(site: Site, store: Store) -> None:
    store.faults = {"PUT report": ["hang"]}
    first = order_at(site, store, training=Training(epochs=5000, batch_size=8))
    site.want(first)
    with site.running() as runner:
        until(lambda: site.work() and "report" in store.puts)
        site.want(first.model_copy(update={"state": "cancelled"}))
        until(lambda: "cancelled" in runner.text() and not site.work(), what="the end of the work")
        store.release.set()
        store.faults = {}
        finish(store, Phase.CANCELLED)


@pytest.mark.parametrize(("refused", "phase"), [("GET base", Phase.FETCHING), ("PUT model", Phase.UPLOADING)])
def test_an_expired_url_of_one_order_holds_up_no_other(site: Site, store: Store, refused: str, phase: Phase) -> None:
    store.faults = {refused: ["500"]}
    stuck, other = order_at(site, store), site.order(2)
    site.want(stuck, other)
    with site.running():
        site.finish(other)
        until(lambda: (found := report(store)) and found.phase is phase)
        store.faults = {}
        finish(store)


def test_a_url_that_the_store_refuses_for_good_fails_the_order(site: Site, store: Store) -> None:
    store.faults = {"PUT manifest": ["405"]}
    site.want(order_at(site, store))
    with site.running():
        found = finish(store, Phase.FAILED)
    assert found.error is not None
    assert "405" in found.error.message


def test_work_goes_on_while_the_store_is_away_and_is_delivered_when_it_is_back(site: Site, store: Store) -> None:
    store.faults = {"PUT report": ["500"], "PUT model": ["500"], "PUT manifest": ["500"]}
    order = order_at(site, store)
    site.want(order)
    with site.running():
        until(lambda: (site.state / "trained" / order.id / "manifest.json").exists())
        until(lambda: store.puts.count("model") >= 2)
    assert "manifest" not in store.puts
    store.faults = {}
    with site.running():
        finish(store)


def test_reports_grow_in_sequence_across_restarts(site: Site, store: Store) -> None:
    order = order_at(site, store, training=Training(epochs=5000, batch_size=8))
    site.want(order)
    sequences: list[int] = []
    for _ in range(3):
        with site.running():
            last = sequences[-1] if sequences else 0
            until(lambda last=last: (found := report(store)) and found.sequence > last)  # type: ignore[misc]
            found = report(store)
            assert found is not None
            sequences.append(found.sequence)
    assert sequences == sorted(set(sequences))
