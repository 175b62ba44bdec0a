"""The page of a line, as people see it in a browser."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import urllib3

from cloudedge.documents.inspection import Rollout
from cloudedge.documents.line import SERVER, DeploymentState, Status
from edge.clock import now
from edge.detector.pictures import heat_map
from edge.line.reports import DeploymentReport, DetectorReport, LineReport, PartReport
from edge.line.settings import open_line
from tests.edge.line.site import BRAND, LineSite, Standin, a_model, free_ports
from tests.waiting import PATIENCE, until

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page, Route

HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>"
HEAT = heat_map(np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8), 0.5)


class Watched:
    """What a tab asked for, and what it complained of."""

    def __init__(self, page: "Page") -> None:
        self.complaints: list[str] = []
        self.asked: set[str] = set()
        page.on("console", lambda message: self.complaints.append(message.text) if message.type != "log" else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", lambda dialog: self.complaints.append(dialog.message))
        page.on("request", lambda request: self.asked.add(request.url))


@pytest.fixture
def watched(page: "Page", site: LineSite) -> Iterator[Watched]:
    """It asked for nothing but the line's, and complained of nothing."""
    watched = Watched(page)
    yield watched
    page.close()
    assert watched.complaints == []
    assert {url for url in watched.asked if not url.startswith(address(site))} == set()


def address(site: LineSite) -> str:
    return f"http://{site.settings.page}/"


def card(page: "Page", name: str) -> "Locator":
    return page.locator(f"#detector-{name}")


def rejects(page: "Page") -> "Locator":
    return page.locator("#rejects .gallery li")


def deploy(site: LineSite, name: str = "one", rollout: Rollout | None = None) -> None:
    path = site.root / "models" / f"{name}.onnx"
    site.line.deploy(name, BRAND, a_model(path, name), path, (), rollout or Rollout(canaries=0))


def say(detector: Standin, deployment: str, **more: Any) -> None:
    """A detector says how a deployment stands."""
    former = detector.states[deployment].model_dump()
    detector.states[deployment] = DeploymentState.model_validate({**former, **more})


def as_if(page: "Page", report: LineReport) -> None:
    """Have the page hear this."""
    content = report.model_dump_json()
    page.route("**/api/line", lambda route: route.fulfill(content_type="application/json", body=content))


def is_seen(image: "Locator") -> bool:
    return bool(image.evaluate("image => image.complete && image.naturalWidth > 0"))


def test_detectors_appear_by_themselves_and_say_when_they_are_away(page: "Page", site: LineSite, watched: Watched) -> None:
    from playwright.sync_api import expect

    page.goto(address(site))
    expect(page.locator("#state")).to_have_text("Live")
    expect(page.get_by_text("None has joined.")).to_be_visible()
    site.linked("north", "south")
    expect(card(page, "north").locator(".presence")).to_have_text("here")
    expect(page.locator("#glance")).to_contain_text("2 of 2")
    site.unlink("south")
    expect(card(page, "south").locator(".presence")).to_contain_text("away since")
    expect(page.locator("#glance")).to_contain_text("1 of 2")
    expect(page.locator("#glance .troubles")).to_contain_text("south")


def test_figures_and_the_trend_move_while_one_looks(page: "Page", site: LineSite, watched: Watched) -> None:
    from playwright.sync_api import expect

    (detector,) = site.linked("north")
    page.goto(address(site))
    figures = card(page, "north").locator("dl")
    expect(figures).to_contain_text("images0")
    site.line.brand("north", BRAND)
    detector.figures = {"images": 200, "rejects": 25, "errors": 3, "per_second": 12.5, "p99_ms": 4.25}
    expect(figures).to_have_text("a second12.599 % within4.25 msrejected13 %images200rejects25errors3")
    expect(card(page, "north")).to_contain_text(f"Brand {BRAND}")
    expect(page.locator("#glance")).to_contain_text("25 of 200 in 5 minutes")
    expect(page.get_by_role("img", name="In the last hour 25 rejects of 200 images")).to_be_visible()
    detector.figures |= {"trouble": "The camera gives no images."}
    expect(page.locator("#glance .troubles")).to_have_text("north The camera gives no images.")
    expect(page).to_have_title("(1) Production line")


def test_a_deployment_is_followed_until_it_serves(page: "Page", site: LineSite, watched: Watched) -> None:
    from playwright.sync_api import expect

    (detector,) = site.linked("north")
    detector.ends = "loading"
    site.line.brand("north", BRAND)
    page.goto(address(site))
    deploy(site)
    until(lambda: detector.deployed)
    say(detector, "one", phase="loading", loaded=2, load_total=5)
    box = page.locator(".deployment")
    loading = box.get_by_role("progressbar", name="loading")
    expect(loading).to_have_attribute("aria-valuetext", "step 2 of 5")
    expect(box).to_contain_text("0 of 1 judge by it, under way")
    detector.models.of[BRAND] = [site.service.store.wanted("north").deployments[0].deployable] if site.service else []
    say(detector, "one", phase="watching", loaded=5, load_total=5, load_seconds=0.5, swap_gap_ms=3.25, images=40)
    expect(loading).to_have_attribute("aria-valuetext", "loaded in 0.5 s")
    expect(box.locator(".parts")).to_contain_text("judges by it, is watched")
    expect(box.locator(".parts")).to_contain_text("longest pause 3.25 ms")
    expect(box).to_contain_text("1 of 1 judge by it")
    expect(card(page, "north").locator(".model")).to_contain_text("tested, since")
    say(detector, "one", phase="serving")
    expect(box.locator(".phase")).to_have_text("judges by it")


def test_a_canary_that_is_rolled_back_says_why_and_the_others_are_left_out(
    page: "Page", site: LineSite, watched: Watched
) -> None:
    from playwright.sync_api import expect

    detectors = site.linked("north", "south")
    for detector in detectors:
        detector.ends = "watching"
    page.goto(address(site))
    deploy(site, rollout=Rollout(canaries=1, canary_seconds=3600))
    until(lambda: any(detector.deployed for detector in detectors))
    expect(page.locator(".parts li", has_text="canary").locator(".phase")).to_have_text("judges by it, is watched")
    next(detector for detector in detectors if detector.deployed).now("one", "rolled-back", "It rejected 61 % of 85 parts.")
    expect(page.locator(".parts")).to_contain_text("rolled back")
    expect(page.locator(".parts")).to_contain_text("left out")
    expect(page.locator(".deployment .of")).to_have_text("0 of 2 judge by it")
    page.locator(".deployment summary").click()
    expect(page.locator(".deployment .why")).to_contain_text("rolled back: It rejected 61 % of 85 parts.")


def test_a_transfer_under_way_shows_its_bytes(page: "Page", site: LineSite, watched: Watched) -> None:
    from playwright.sync_api import expect

    state = DeploymentState(
        id="one", brand=BRAND, sha256="a" * 64, phase="transferring", transferred=3_000_000, transfer_total=12_000_000
    )
    parts = {
        "north": PartReport(given=True, canary=True, connected=True, state=state),
        "south": PartReport(given=True, canary=False, connected=False),
        SERVER: PartReport(given=False, canary=False, connected=True),
    }
    as_if(page, line_of([], [deployment("one", parts)]))
    page.goto(address(site))
    transfer = page.get_by_role("progressbar", name="transfer").first
    expect(transfer).to_have_attribute("aria-valuenow", "3000000")
    expect(transfer).to_have_attribute("aria-valuetext", "3 MB of 12 MB")
    assert transfer.evaluate("bar => bar.firstChild.style.width") == "25%"
    rows = page.locator(".parts li")
    expect(rows).to_contain_text(["north canary", "south", "edge server"])
    expect(rows.locator(".phase")).to_have_text(["fetches it", "away: gets it when it is back", "waits for its turn"])


def test_a_rejected_part_comes_by_itself_with_its_picture_and_heat_map(page: "Page", site: LineSite, watched: Watched) -> None:
    from playwright.sync_api import expect

    north, south = site.linked("north", "south")
    page.goto(address(site))
    expect(page.get_by_text("No rejected part is recorded.")).to_be_visible()
    north.spool.add(10, accepted=False, heat=HEAT, score=0.75, threshold=0.5, defect="scratch")
    expect(rejects(page)).to_have_count(1)
    expect(rejects(page)).to_contain_text("scratch0.750 > 0.500")
    south.spool.add(20, accepted=False, score=1.0, threshold=0.5)
    expect(rejects(page)).to_contain_text(["south", "north"])
    for path in ("images", "heat"):
        until(lambda path=path: is_seen(rejects(page).nth(1).locator(f"img[src^='api/{path}/']")), what=path)  # type: ignore[misc]

    page.get_by_label("Detector", exact=True).select_option("north")
    expect(rejects(page)).to_have_count(1)
    page.get_by_label("Detector", exact=True).select_option("")
    expect(rejects(page)).to_have_count(2)


def test_a_reject_is_opened_and_left_by_keys(page: "Page", site: LineSite, watched: Watched) -> None:
    from playwright.sync_api import expect

    (north,) = site.linked("north")
    north.spool.add(10, accepted=False, heat=HEAT, score=0.75, threshold=0.5, defect="scratch")
    until(lambda: north.spool.backlog() == 0)
    north.spool.add(20, accepted=False, score=1.5, threshold=0.5, defect="stain")
    page.goto(address(site))
    expect(rejects(page)).to_have_count(2)
    rejects(page).first.get_by_role("button").focus()
    page.keyboard.press("Enter")
    large = page.get_by_role("dialog")
    expect(large.get_by_role("heading")).to_have_text("stain, by north")
    page.keyboard.press("ArrowRight")
    expect(large.get_by_role("heading")).to_have_text("scratch, by north")
    expect(large.get_by_role("button", name="Older")).to_be_disabled()
    expect(large.locator("img")).to_have_count(3)  # The picture, and the picture below its heat map.
    until(lambda: all(is_seen(image) for image in large.locator("img").all()), what="the pictures")
    page.keyboard.press("Escape")
    expect(large).to_be_hidden()


def test_new_rejects_do_not_move_what_somebody_looks_at(page: "Page", site: LineSite, watched: Watched) -> None:
    from playwright.sync_api import expect

    (north,) = site.linked("north")
    north.spool.add(10, accepted=False, defect="first")
    page.goto(address(site))
    rejects(page).first.get_by_role("button").focus()
    north.spool.add(20, accepted=False, defect="second")
    fresh = page.get_by_role("button", name="1 new reject")
    expect(fresh).to_be_visible()
    expect(rejects(page)).to_have_count(1)
    fresh.click()
    expect(rejects(page)).to_contain_text(["second", "first"])


def test_hundreds_of_rejects_can_be_seen(page: "Page", site: LineSite, watched: Watched) -> None:
    from playwright.sync_api import expect

    (north,) = site.linked("north")
    for value in range(250):
        north.spool.add(value, accepted=False)
    until(lambda: north.spool.backlog() == 0)
    page.goto(address(site))
    expect(rejects(page)).to_have_count(60)
    more = page.get_by_role("button", name="Show more")
    more.click()
    expect(rejects(page)).to_have_count(180)
    more.click()
    expect(rejects(page)).to_have_count(250)
    expect(more).to_be_hidden()


def test_the_page_says_that_the_service_is_gone_and_comes_back(page: "Page", tmp_path: Path) -> None:
    from playwright.sync_api import expect

    site = LineSite(tmp_path)
    try:
        with site.process():
            site.linked("north")
            page.goto(address(site))
            expect(card(page, "north").locator(".presence")).to_have_text("here")
        expect(page.locator("#state")).to_have_text("No answer")
        expect(page.get_by_role("alert").first).to_contain_text("The line's service does not answer.")
        with site.process():
            expect(page.locator("#state")).to_have_text("Live")
            expect(page.locator("#gone")).to_be_hidden()
            expect(card(page, "north").locator(".presence")).to_have_text("here")
    finally:
        site.close()


def test_a_page_that_stays_open_is_the_new_one_after_an_upgrade(page: "Page", site: LineSite, watched: Watched) -> None:
    from playwright.sync_api import expect

    site.linked("north")
    page.goto(address(site))
    expect(card(page, "north")).to_be_visible()

    def upgraded(route: "Route") -> None:
        answer = route.fetch()
        route.fulfill(response=answer, headers={**answer.headers, "x-cloudedge-page": "another"})

    with page.expect_event("load"):
        page.route("**/api/line", upgraded)
    expect(card(page, "north")).to_be_visible()


def test_what_detectors_say_is_text_and_no_markup(page: "Page", site: LineSite, watched: Watched) -> None:
    from playwright.sync_api import expect

    (north,) = site.linked("north")
    north.figures = {"trouble": f"trouble {HOSTILE}"}
    north.spool.add(10, accepted=False, heat=HEAT, defect=f"defect {HOSTILE}", label=f"label {HOSTILE}")
    page.goto(address(site))
    deploy(site)
    until(lambda: north.deployed)
    north.now("one", "failed", f"reason {HOSTILE}")
    expect(page.locator("#glance .troubles")).to_contain_text(f"trouble {HOSTILE}")
    expect(card(page, "north")).to_contain_text(f"trouble {HOSTILE}")
    expect(page.locator(".parts .note")).to_contain_text(f"reason {HOSTILE}")
    expect(rejects(page)).to_contain_text(f"defect {HOSTILE}")
    rejects(page).get_by_role("button").click()
    expect(page.get_by_role("dialog").get_by_role("heading")).to_contain_text(f"defect {HOSTILE}")
    expect(page.get_by_role("dialog")).to_contain_text(f"label {HOSTILE}")
    expect(page.locator("img[src='x']")).to_have_count(0)


@pytest.mark.parametrize("width", [390, 1280, 1920])
def test_nothing_is_wider_than_the_screen(page: "Page", site: LineSite, watched: Watched, width: int) -> None:
    from playwright.sync_api import expect

    (north,) = site.linked("north")
    north.spool.add(10, accepted=False, heat=HEAT, score=123.456, threshold=0.0001, defect="d" * 200)
    until(lambda: north.spool.backlog() == 0)
    names = ["n" * 53, *(f"station-{number:02}" for number in range(29))]
    told = {"images": 10**9, "rejects": 10**8, "errors": 10**7, "trouble": "t" * 300}
    status = Status.model_validate({"at": datetime.now(UTC), "brand": "b" * 53, "model": "a" * 64, **told})
    detectors = [
        DetectorReport(name=name, connected=place % 2 == 0, away_seconds=1e6, joined_at=now().iso(), status=status)
        for place, name in enumerate(names)
    ]
    state = DeploymentState(id="one", brand=BRAND, sha256="a" * 64, phase="failed", reason="r" * 300)
    parts = {name: PartReport(given=True, canary=True, connected=True, state=state) for name in names}
    as_if(page, line_of(detectors, [deployment("d" * 200, parts)]))
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(address(site))
    expect(page.locator(".card")).to_have_count(30)
    expect(page.locator(".parts li")).to_have_count(30)
    expect(rejects(page)).to_have_count(1)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    rejects(page).get_by_role("button").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    assert page.get_by_role("dialog").evaluate("dialog => dialog.scrollWidth - dialog.clientWidth") == 0


def test_opened_with_the_key_it_shows_all_and_keeps_the_key_to_itself(page: "Page", tmp_path: Path) -> None:
    from playwright.sync_api import expect

    with for_the_network(tmp_path) as (site, base):
        (north,) = site.linked("north")
        north.spool.add(10, accepted=False, heat=HEAT)
        watched = Watched(page)
        page.goto(f"{base}?key={site.settings.page_key}")
        expect(rejects(page)).to_have_count(1)
        until(lambda: all(is_seen(image) for image in rejects(page).locator("img").all()), what="the pictures")
        assert page.url == base
        assert [url for url in watched.asked if "key" in url] == [f"{base}?key={site.settings.page_key}"]
        site.linked("south")
        expect(card(page, "south")).to_be_visible()
        assert page.evaluate("document.cookie") == ""
        page.reload()
        expect(card(page, "south")).to_be_visible()
        assert watched.complaints == []


def test_a_browser_gets_the_key_as_a_cookie_that_no_script_and_no_other_site_can_use(tmp_path: Path) -> None:
    with for_the_network(tmp_path) as (site, base), asking() as ask:
        key = site.settings.page_key
        opened = ask(f"{base}?key={key}")
        assert (opened.status, opened.headers["Location"]) == (303, "./")
        cookie, *kinds = opened.headers["Set-Cookie"].split("; ")
        assert {"HttpOnly", "SameSite=lax"} <= set(kinds)
        assert ask(base, Cookie=cookie).status == 200
        assert ask(f"{base}api/line", Cookie=cookie).status == 200
        assert ask(f"{base}api/line", Cookie=cookie[:-1]).status == 403
        stranger = ask(base)
        assert stranger.status == 403
        assert "cloudedge-edge line show" in stranger.data.decode()
        assert "Set-Cookie" not in stranger.headers
        assert ask(f"{base}web/line.js").status == 403


def test_the_page_may_load_nothing_from_elsewhere_and_no_script_in_itself(site: LineSite) -> None:
    with asking() as ask:
        opened = ask(address(site))
        policy = dict(part.split(" ", 1) for part in opened.headers["Content-Security-Policy"].split("; "))
        html = opened.data.decode()
        scripts = re.findall(r'(?:src|href)="(web/[^"]+)"', html)
        for path in scripts:
            assert ask(address(site) + path).status == 200
        assert ask(address(site) + "web/..%2fpage.py").status == 404
    assert policy["default-src"] == "'none'"
    assert set(policy.values()) == {"'none'", "'self'"}
    assert {Path(path).name for path in scripts} == {"icon.svg", "style.css", "line.js"}
    assert "<script>" not in html
    assert "style=" not in html


@contextmanager
def for_the_network(root: Path) -> Iterator[tuple[LineSite, str]]:
    """A line whose page others than this machine reach, and where this one does."""
    site = LineSite(root)
    listen, join, page = free_ports(3)
    open_line(site.folders, f"127.0.0.1:{listen}", f"127.0.0.1:{join}", f"0.0.0.0:{page}")
    site.start()
    try:
        yield site, f"http://127.0.0.1:{page}/"
    finally:
        site.close()


@contextmanager
def asking() -> Iterator[Callable[..., Any]]:
    """Ask for an address, with headers."""
    with urllib3.PoolManager(retries=False) as pool:
        yield lambda url, **headers: pool.request("GET", url, headers=headers, timeout=PATIENCE, redirect=False)


def line_of(detectors: list[DetectorReport], deployments: list[DeploymentReport]) -> LineReport:
    return LineReport(detectors=tuple(detectors), deployments=tuple(deployments), history_bytes=0)


def deployment(name: str, parts: dict[str, PartReport]) -> DeploymentReport:
    return DeploymentReport(
        id=name,
        brand=BRAND,
        sha256="a" * 64,
        name="tested",
        size=12_000_000,
        begun_at=now().iso(),
        seconds=1,
        stopped=False,
        detectors=parts,
    )
