"""What people on the line's network get, and what others do not."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3

from edge.line.page import KEY_HEADER
from edge.line.settings import open_line
from tests.edge.line.site import LineSite, free_ports, png
from tests.waiting import PATIENCE, until


class Browser:
    """Asks a page."""

    def __init__(self, site: LineSite) -> None:
        self._pool = urllib3.PoolManager(retries=False)
        self.base = f"http://{site.settings.page}"

    def get(self, path: str, **headers: str) -> Any:
        return self._pool.request("GET", self.base + path, headers=headers, preload_content=True, timeout=PATIENCE)

    def json(self, path: str) -> Any:
        answer = self.get(path)
        assert answer.status == 200, answer.data
        return json.loads(answer.data)

    def events(self) -> Any:
        return self._pool.request("GET", self.base + "/api/events", preload_content=False, timeout=PATIENCE)

    def close(self) -> None:
        self._pool.clear()


@pytest.fixture
def browser(site: LineSite) -> Iterator[Browser]:
    browser = Browser(site)
    yield browser
    browser.close()


def test_the_snapshot_has_each_detector(site: LineSite, browser: Browser) -> None:
    site.linked("a", "b")
    found = browser.json("/api/line")
    assert [(each["name"], each["connected"]) for each in found["detectors"]] == [("a", True), ("b", True)]
    assert found["trouble"] == ""
    assert found["deployments"] == []


def test_rejects_come_with_their_pictures(site: LineSite, browser: Browser) -> None:
    (detector,) = site.linked("a")
    record = detector.spool.add(20, accepted=False, heat=png(5), score=7.5)
    detector.spool.add(30)
    until(lambda: detector.spool.backlog() == 0)
    (found,) = browser.json("/api/rejects?detector=a&limit=5")
    assert (found["detector"], found["heat"], found["record"]["score"]) == ("a", True, 7.5)
    assert browser.get(f"/api/images/{record.image_sha256}").data == png(20)
    assert browser.get(f"/api/heat/{record.image_sha256}/{record.model}").data == png(5)
    assert browser.get(f"/api/heat/{record.image_sha256}/{'b' * 64}").status == 404
    assert browser.json("/api/rejects?detector=b") == []


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/images/..%2f..%2fline.json", 404),
        ("/api/images/" + "a" * 64, 404),
        ("/api/heat/" + "a" * 64 + "/" + "b" * 64, 404),
        ("/api/rejects?limit=0", 400),
        ("/api/rejects?limit=100000", 400),
        ("/api/rejects?detector=../x", 400),
        ("/line.json", 404),
    ],
)
def test_what_is_not_there_is_not_given(browser: Browser, path: str, status: int) -> None:
    assert browser.get(path).status == status


def test_a_page_of_the_internet_cannot_read_it_under_another_name(browser: Browser) -> None:
    assert browser.get("/api/line", Host="evil.example").status == 400


def test_an_event_tells_that_something_changed(site: LineSite, browser: Browser) -> None:
    stream = browser.events()
    first = stream.readline()
    assert first == b"event: changed\n"
    before = stream.readline()
    assert stream.readline() == b"\n"
    site.linked("a")
    assert stream.readline() == b"event: changed\n"
    assert stream.readline() != before
    stream.close()


def test_from_other_machines_it_needs_the_key(tmp_path: Path) -> None:
    site = LineSite(tmp_path)
    listen, join, page = (f"127.0.0.1:{port}" for port in free_ports(3))
    open_line(site.folders, listen, join, page.replace("127.0.0.1", "0.0.0.0"))
    site.start()
    browser = Browser(site)
    try:
        key = site.settings.page_key
        assert browser.get("/api/line").status == 403
        assert browser.get("/api/line?key=" + key[:-1]).status == 403
        assert browser.get("/api/line?key=%C3%A4").status == 403
        assert browser.get(f"/api/line?key={key}").status == 200
        assert browser.get("/api/line", **{KEY_HEADER: key}).status == 200
    finally:
        browser.close()
        site.close()
