"""A line's service and its detectors' links, over real TLS on loopback."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from cloudedge.channel.identity import made
from cloudedge.channel.joining import TOKEN_SECONDS
from cloudedge.documents.inspection import Rollout
from cloudedge.documents.line import SERVER, Wanted
from cloudedge.errors import CloudedgeError, InvalidInput, NotFound, StoreFailed
from edge.clock import now
from edge.detector.link import join, membership
from edge.folders import Folders
from edge.line.control import Line
from edge.line.history import History
from edge.line.reports import DeploymentReport
from tests.edge.line.site import BRAND, LineSite, a_model, png
from tests.waiting import PATIENCE, until

AT_ONCE = Rollout(canaries=0)
NOW = Rollout(canaries=1, canary_seconds=0)


def deploy(
    site: LineSite, name: str = "one", rollout: Rollout = AT_ONCE, *detectors: str, padding: int = 0
) -> DeploymentReport:
    path = site.root / "models" / f"{name}.onnx"
    return site.line.deploy(name, BRAND, a_model(path, name, padding), path, detectors, rollout)


def outcomes(site: LineSite, name: str = "one") -> dict[str, str]:
    """What became of a deployment at each detector, once that is known of all."""
    until(lambda: site.line.deployment(name).over, what="the end of the deployment")
    parts = site.line.deployment(name).detectors
    return {detector: part.outcome.state for detector, part in parts.items() if part.outcome is not None}


def wanted(site: LineSite, name: str) -> list[str]:
    """Deployments that are wanted of a detector."""
    (found,) = (each.wanted for each in site.line.detectors() if each.name == name)
    assert found is not None
    return [asked.id for asked in found.deployments]


def test_a_detector_joins_with_its_token_and_is_here(site: LineSite) -> None:
    site.linked("north")
    (found,) = site.line.detectors()
    assert (found.name, found.connected, found.away_seconds) == ("north", True, 0)


def test_a_token_is_good_for_one_detector_once(site: LineSite) -> None:
    token = site.line.add("north")
    join(token, site.folder("north"))
    with pytest.raises(InvalidInput, match="not good"):
        join(token, site.folder("thief"))
    assert membership(site.folder("thief")) is None


def test_a_token_ends_with_its_hour(site: LineSite, monkeypatch: pytest.MonkeyPatch) -> None:
    token, moment = site.line.add("north"), now()
    monkeypatch.setattr("edge.line.store.now", lambda: replace(moment, up=moment.up + TOKEN_SECONDS + 1))
    with pytest.raises(InvalidInput, match="within an hour"):
        join(token, site.folder("north"))


def test_a_newer_token_for_a_name_voids_the_former_one(site: LineSite) -> None:
    former = site.line.add("north")
    site.line.add("north")
    with pytest.raises(InvalidInput, match="not good"):
        join(former, site.folder("north"))


def test_a_detector_that_is_removed_gets_nothing_more(site: LineSite) -> None:
    (detector,) = site.linked("north")
    site.line.remove("north")
    until(lambda: "cannot be reached" in site.links["north"].trouble or "not know" in site.links["north"].trouble)
    detector.spool.add(10)
    assert site.line.detectors() == []
    assert detector.spool.backlog() == 1


def test_a_machine_that_takes_anothers_place_ends_the_connection_of_that(site: LineSite) -> None:
    site.linked("north")
    join(site.line.add("north"), site.root / "new")
    until(lambda: bool(site.links["north"].trouble))
    until(lambda: not site.is_here("north"))


def test_the_edge_servers_own_name_is_no_detectors(site: LineSite) -> None:
    with pytest.raises(InvalidInput, match="edge server itself"):
        site.line.add(SERVER)


def test_where_no_line_is_the_message_says_how_to_begin_one(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="line open"):
        Line(Folders(tmp_path)).detectors()


def test_where_its_service_does_not_run_that_is_said(site: LineSite) -> None:
    site.stop()
    with pytest.raises(StoreFailed, match="beside the runner"):
        site.line.detectors()


def test_a_brand_reaches_a_detector_at_once_and_one_that_was_away_later(site: LineSite) -> None:
    here, away = site.linked("here"), site.joined("away")
    for name in ("here", "away"):
        site.line.brand(name, BRAND)
    until(lambda: here[0].brands == [BRAND])
    until(lambda: [each.in_step for each in site.line.detectors()] == [False, True])
    site.link("away")
    until(lambda: away.brands == [BRAND])


def test_a_detector_is_taught_once(site: LineSite) -> None:
    (detector,) = site.linked("north")
    site.line.teach("north", BRAND, 20, "scratch")
    until(lambda: detector.taught)
    site.unlink("north")
    site.link("north")
    until(lambda: site.is_here("north"))
    assert [(asked.brand, asked.count, asked.label) for asked in detector.taught] == [(BRAND, 20, "scratch")]


def test_a_model_comes_to_all_detectors(site: LineSite) -> None:
    detectors = site.linked("a", "b", "c")
    report = deploy(site)
    assert outcomes(site) == dict.fromkeys("abc", "serving")
    assert all(detector.deployed == ["one"] for detector in detectors)
    part = site.line.deployment("one").detectors["a"]
    assert part.outcome is not None
    assert part.outcome.load_seconds == 0.5
    assert part.state is not None
    assert part.state.transferred == part.state.transfer_total == report.size


def test_a_second_and_a_third_deployment_work_as_the_first(site: LineSite) -> None:
    (detector,) = site.linked("north")
    for name in ("one", "two", "three"):
        deploy(site, name)
        assert outcomes(site, name) == {"north": "serving"}
    assert detector.deployed == ["one", "two", "three"]


def test_the_same_deployment_again_is_the_same(site: LineSite) -> None:
    (detector,) = site.linked("north")
    deploy(site)
    outcomes(site)
    deploy(site)
    assert outcomes(site) == {"north": "serving"}
    assert detector.deployed == ["one"]


def test_a_canary_that_is_rolled_back_spares_the_others(site: LineSite) -> None:
    detectors = dict(zip("abc", site.linked("a", "b", "c"), strict=True))
    detectors["a"].ends = "rolled-back"
    deploy(site, "one", NOW, "a", "b", "c")
    assert outcomes(site) == {"a": "rolled-back", "b": "skipped", "c": "skipped"}
    assert [len(found.deployed) for found in detectors.values()] == [1, 0, 0]


def test_one_that_is_away_too_long_is_unreachable_and_keeps_its_model(site: LineSite) -> None:
    site.linked("here")
    away = site.joined("away")
    deploy(site, "one", Rollout(canaries=0, wait_seconds=0.2))
    assert outcomes(site) == {"here": "serving", "away": "unreachable"}
    site.link("away")
    until(lambda: site.is_here("away"))
    assert wanted(site, "away") == []
    assert away.deployed == []


def test_one_that_goes_away_with_the_model_and_judges_by_it_later_is_found_to(site: LineSite) -> None:
    (detector,) = site.linked("north")
    detector.ends = "loading"
    deploy(site, "one", Rollout(canaries=0, wait_seconds=0.2))
    until(lambda: (state := site.line.deployment("one").detectors["north"].state) and state.phase == "loading")
    site.unlink("north")
    assert outcomes(site) == {"north": "unreachable"}
    detector.now("one", "watching")
    site.link("north")
    until(lambda: outcomes(site) == {"north": "serving"})
    assert wanted(site, "north") == ["one"]


def test_one_that_comes_back_in_time_gets_the_model(site: LineSite) -> None:
    away = site.joined("away")
    deploy(site)
    site.link("away")
    assert outcomes(site) == {"away": "serving"}
    assert away.deployed == ["one"]


def test_a_stopped_deployment_leaves_who_has_it_and_skips_the_rest(site: LineSite) -> None:
    site.linked("a")
    site.joined("b")
    deploy(site, "one", AT_ONCE, "a", "b")
    until(lambda: site.line.deployment("one").detectors["a"].outcome)
    site.line.stop("one")
    assert outcomes(site) == {"a": "serving", "b": "skipped"}


def test_a_deployment_that_nobody_asks_after_goes_to_nobody_else(site: LineSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.line.service.FOLLOWED_SECONDS", 0.0)
    site.joined("away")
    deploy(site)
    until(lambda: site.line.report().deployments[0].over)
    (found,) = site.line.report().deployments
    assert found.stopped
    outcome = found.detectors["away"].outcome
    assert outcome is not None
    assert outcome.state == "skipped"


def test_a_stopped_deployment_that_is_asked_for_again_goes_on(site: LineSite) -> None:
    detector = site.joined("a")
    deploy(site)
    site.line.stop("one")
    assert outcomes(site) == {"a": "skipped"}
    deploy(site)
    site.link("a")
    assert outcomes(site) == {"a": "serving"}
    assert detector.deployed == ["one"]


def test_a_canary_that_was_not_proven_when_it_was_stopped_must_be_when_it_goes_on(site: LineSite) -> None:
    site.linked("a", "b")
    rollout = Rollout(canaries=1, canary_seconds=600)
    deploy(site, "one", rollout, "a", "b")
    until(lambda: site.line.deployment("one").detectors["a"].judges)
    site.line.stop("one")
    assert outcomes(site) == {"a": "serving", "b": "skipped"}
    report = deploy(site, "one", rollout, "a", "b")
    assert [part.outcome for part in report.detectors.values()] == [None, None]
    site.line.gather(BRAND, ["a", "b"], PATIENCE)  # Whatever was wanted before has reached them then.
    assert site.detectors["b"].deployed == []


def test_a_detector_that_is_none_is_refused_before_anything_is_done(site: LineSite) -> None:
    site.joined("a")
    with pytest.raises(NotFound, match="nobody never joined this line. Those that have: a"):
        deploy(site, "one", AT_ONCE, "a", "nobody")
    with pytest.raises(NotFound, match="no deployment"):
        site.line.deployment("one")


def test_a_person_has_the_model_before_brought_back(site: LineSite) -> None:
    (detector,) = site.linked("north")
    site.line.brand("north", BRAND)
    for name in ("one", "two"):
        deploy(site, name)
        outcomes(site, name)
    until(lambda: (site.line.detectors()[0].status or detector.status()).brand == BRAND)
    assert site.line.rollback("north") == BRAND
    until(lambda: detector.rolled_back == [BRAND])
    site.unlink("north")
    site.link("north")
    until(lambda: site.is_here("north"))
    assert detector.rolled_back == [BRAND]
    assert wanted(site, "north") == ["one"]


def test_a_cut_transfer_goes_on_where_it_was(site: LineSite) -> None:
    detector = site.joined("north")
    with site.cabled("north") as cable:
        cable.limit = 5_000_000
        site.link("north")
        report = deploy(site, padding=6_000_000)
        assert outcomes(site) == {"north": "serving"}
        assert cable.cuts == 1
        # From its start again would be 5 MB more; what was under way when it was cut is less, and the machine's affair.
        assert cable.passed < report.size + 3_000_000
        assert detector.deployed == ["one"]


def test_a_detector_is_here_over_a_way_that_takes_long(site: LineSite) -> None:
    site.joined("north")
    with site.cabled("north", delay_seconds=0.25):
        site.link("north")
        until(lambda: site.is_here("north"), what="the detector, being here")


def test_a_model_that_is_not_wanted_for_the_moment_is_fetched_when_it_is_again(
    site: LineSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a detector asks for more of a model before it hears that its deployment was stopped."""
    (detector,) = site.linked("north")
    assert site.service is not None
    wanted = site.service.store.wanted
    refused: list[str] = []

    def once_less(name: str) -> Wanted:
        if refused or sys._getframe(1).f_code.co_name != "_fetch":
            return wanted(name)
        refused.append(name)
        return wanted(name).model_copy(update={"deployments": ()})

    monkeypatch.setattr(site.service.store, "wanted", once_less)
    deploy(site)
    until(lambda: refused)
    site.line.stop("one")
    deploy(site)
    assert outcomes(site) == {"north": "serving"}
    assert detector.deployed == ["one"]


def test_a_detector_that_dies_in_a_transfer_goes_on_where_it_was_and_nothing_runs_backwards(site: LineSite) -> None:
    detector = site.joined("north")
    told: list[int] = []
    with site.cabled("north") as cable:
        cable.limit, cable.stays_cut = 3_000_000, True
        site.link("north")
        report = deploy(site, padding=6_000_000)
        until(lambda: cable.cuts)
        site.unlink("north")
        part = site.line.deployment("one").detectors["north"]
        told.append(part.state.transferred if part.state else 0)
        (kept,) = (site.folder("north") / "models").glob("*.part")
        still_to_come = report.size - kept.stat().st_size
        assert 0 < still_to_come < report.size
        cable.stays_cut = False
        passed = cable.passed  # What was under way when it was cut is lost, and how much that was is the machine's affair.
        site.link("north")
        while not site.line.deployment("one").over:
            part = site.line.deployment("one").detectors["north"]
            told.append(part.state.transferred if part.state else 0)
        assert outcomes(site) == {"north": "serving"}
        assert told == sorted(told)
        assert cable.passed - passed < still_to_come + 300_000
        assert detector.deployed == ["one"]


def test_a_damaged_rest_of_a_transfer_is_fetched_anew(site: LineSite) -> None:
    detector = site.joined("north")
    path = site.root / "models" / "one.onnx"
    deployable = a_model(path, "one", 100_000)
    part = site.folder("north") / "models" / f"{deployable.sha256}.part"
    part.parent.mkdir()
    part.write_bytes(b"\0" * 50_000)
    site.line.deploy("one", BRAND, deployable, path, (), AT_ONCE)
    site.link("north")
    assert outcomes(site) == {"north": "serving"}
    assert detector.deployed == ["one"]
    until(lambda: not list(part.parent.iterdir()), what="the transferred file being removed")


def test_records_are_kept_with_their_images(site: LineSite) -> None:
    (detector,) = site.linked("north")
    records = [
        detector.spool.add(10),
        detector.spool.add(20, accepted=False, heat=png(5)),
        detector.spool.add(30, label="dent"),
    ]
    until(lambda: detector.spool.backlog() == 0)
    history = History(site.folders.line_history)
    found = history.recorded(BRAND)
    assert [each.sha256 for each in found] == [record.image_sha256 for record in records]
    assert [each.path.read_bytes() for each in found] == [png(10), png(20), png(30)]
    assert [(each.accepted, each.label) for each in found] == [(True, ""), (False, ""), (True, "dent")]
    assert history.recorded(BRAND, ["south"]) == []
    assert [each.sha256 for each in history.recorded(BRAND, since=records[1].taken_at)] == [
        record.image_sha256 for record in records[1:]
    ]
    ((name, record, heat),) = history.rejects()
    assert (name, record.image_sha256, heat) == ("north", records[1].image_sha256, True)
    history.close()


def test_gathering_waits_until_all_that_was_held_back_is_here(site: LineSite) -> None:
    (here,), away = site.linked("here"), site.joined("away")
    for value in range(100):
        here.spool.add(value)
    away.spool.add(1)
    left = site.line.gather(BRAND, ["here"], PATIENCE)
    assert left == {}
    assert here.spool.backlog() == 0
    left = site.line.gather(BRAND, ["away"], 0.1)
    assert list(left) == ["away"]
    assert "away for" in left["away"]
    with pytest.raises(NotFound, match="nobody"):
        site.line.gather(BRAND, ["nobody"], 1)


def test_records_that_cannot_be_kept_stay_at_the_detector_and_it_says_so(site: LineSite) -> None:
    (detector,) = site.linked("north")
    site.folders.line_history.joinpath("north").write_text("in the way of a folder")
    detector.spool.add(10)
    until(lambda: "Records stay here" in site.links["north"].trouble)
    assert detector.spool.backlog() == 1
    assert "Cannot write" in site.line.report().trouble
    site.folders.line_history.joinpath("north").unlink()
    until(lambda: detector.spool.backlog() == 0)
    until(lambda: not site.links["north"].trouble)


def test_a_stranger_gets_nothing_of_the_line(site: LineSite) -> None:
    from cloudedge.channel.client import Client
    from cloudedge.documents.line import Hello

    detector = site.joined("north")
    found = membership(site.folder("north"))
    assert found is not None
    stranger = Client(found.address, found.certificate, made("north"))
    with pytest.raises(StoreFailed, match="cannot be reached"):
        next(stranger.follow("/cloudedge.line/follow", Hello(generation=0, status=detector.status()), Wanted))
    stranger.close()


def test_the_service_may_be_killed_at_any_moment_of_a_deployment(tmp_path: Path) -> None:
    site = LineSite(tmp_path)
    rollout = Rollout(canaries=1, canary_seconds=0)

    def killed_when(happened: Callable[[], object]) -> None:
        """The service runs until something has happened, and is killed."""
        with site.process() as process:
            if "a" not in site.links:
                site.linked("a", "b")
                site.detectors["a"].ends, site.detectors["b"].ends = "serving", "loading"
                deploy(site, "one", rollout, "a", "b", padding=10_000_000)
            until(happened)
            process.kill()

    try:
        killed_when(lambda: list(site.root.glob("a/link/models/*.part")) or site.detectors["a"].deployed)
        killed_when(lambda: site.detectors["b"].deployed)
        site.detectors["b"].now("one", "failed", "it broke on its first image")
        with site.process():
            assert outcomes(site) == {"a": "serving", "b": "failed"}
            assert [detector.deployed for detector in site.detectors.values()] == [["one"], ["one"]]
            part = site.line.deployment("one").detectors["b"]
            assert part.outcome is not None
            assert part.outcome.reason == "it broke on its first image"
    finally:
        site.close()


def test_what_was_said_to_the_end_is_not_lost_with_a_detector_that_forgets(site: LineSite) -> None:
    detector = site.joined("north")
    deploy(site)
    site.stop()
    site.start()
    site.link("north")
    outcomes(site)
    site.unlink("north")
    detector.states.clear()
    detector.models.of.clear()
    site.link("north")
    until(lambda: site.is_here("north"))
    site.line.brand("north", BRAND)
    until(lambda: detector.brands)
    assert outcomes(site) == {"north": "serving"}


@pytest.mark.parametrize("call", ["nonsense", "_ask"])
def test_what_the_service_does_not_know_is_refused(site: LineSite, call: str) -> None:
    with pytest.raises(CloudedgeError, match="knows no"):
        site.line._ask(call)
