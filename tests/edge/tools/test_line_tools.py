"""The site engineer's commands for a production line, as they are typed."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloudedge.documents.inspection import Rollout
from edge.cli import main
from edge.detector.link import join
from edge.folders import Folders
from edge.line.settings import have_line, read_settings
from tests.edge.line.site import BRAND, LineSite, a_model
from tests.terminal import Ended, called
from tests.waiting import until


@pytest.fixture
def site(tmp_path: Path) -> Iterator[LineSite]:
    """A line whose service runs in this process."""
    site = LineSite(tmp_path)
    site.start()
    yield site
    site.close()


def edge(site: LineSite, *arguments: str) -> Ended:
    return called(*arguments, "--state", site.folders.state, program=main)


def test_a_detector_is_added_listed_shown_and_removed(site: LineSite) -> None:
    token = edge(site, "detectors", "add", "north").out.strip()
    assert token.startswith(f"{site.settings.join}/north/")
    site.joined("north")
    with pytest.raises(Exception, match="not good"):
        join(token, site.folder("other"))  # The one that `joined` had printed took its place.
    site.link("north")
    until(lambda: site.is_here("north"))
    table = edge(site, "detectors", "list").out.splitlines()
    assert table[0] == "detectors:"
    assert table[1].split()[:4] == ["DETECTOR", "HERE", "BRAND", "MODEL"]
    assert table[2].split()[:4] == ["north", "yes", "-", "-"]
    (listed,) = json.loads(edge(site, "detectors", "list", "--json").out)
    assert (listed["name"], listed["connected"]) == ("north", True)
    assert "here:     yes" in edge(site, "detectors", "show", "north").out
    assert edge(site, "detectors", "remove", "north").out == "north is no detector of this line any more.\n"
    assert edge(site, "detectors", "list").out == "detectors: none\n"


def test_a_token_names_the_host_that_the_detector_reaches(site: LineSite) -> None:
    port = site.settings.join.rpartition(":")[2]
    assert edge(site, "detectors", "add", "north", "--host", "line.example").out.startswith(f"line.example:{port}/north/")


def test_a_detector_is_told_its_brand_taught_and_rolled_back(site: LineSite) -> None:
    (detector,) = site.linked("north")
    assert "judges parts of oats" in edge(site, "detectors", "brand", "north", BRAND).out
    until(lambda: detector.brands == [BRAND])
    said = edge(site, "detectors", "teach", "north", "--brand", BRAND, "--count", "16", "--label", "dent").out
    assert said == "The next 16 images of oats at north are taken as examples of 'dent'.\n"
    until(lambda: detector.taught)
    for name in ("one", "two"):
        path = site.root / "models" / f"{name}.onnx"
        site.line.deploy(name, BRAND, a_model(path, name), path, (), Rollout(canaries=0))
        until(lambda name=name: site.line.deployment(name).over)  # type: ignore[misc]
    shown = edge(site, "detectors", "show", "north").out
    assert [line.split()[3] for line in shown.splitlines() if line.strip().startswith(("one ", "two "))] == [
        "serving",
        "serving",
    ]
    found = json.loads(edge(site, "detectors", "show", "north", "--json").out)
    assert [each["outcome"]["state"] for each in found["deployments"]] == ["serving", "serving"]
    assert edge(site, "detectors", "rollback", "north", "--brand", BRAND).out.endswith("by the model before.\n")
    until(lambda: detector.rolled_back == [BRAND])


def test_where_there_is_no_model_before_a_rollback_says_so_and_changes_nothing(site: LineSite) -> None:
    (detector,) = site.linked("north")
    path = site.root / "models" / "one.onnx"
    site.line.deploy("one", BRAND, a_model(path, "one"), path, (), Rollout(canaries=0))
    until(lambda: site.line.deployment("one").over)
    ended = edge(site, "detectors", "rollback", "north", "--brand", BRAND)
    assert (ended.code, ended.out) == (3, "")
    assert ended.err.startswith("north has no model of oats before the one in use, and goes on as it does.")
    (found,) = site.line.detectors()
    assert found.wanted is not None
    assert [asked.id for asked in found.wanted.deployments] == ["one"]
    assert detector.rolled_back == []


def test_one_that_is_away_is_rolled_back_once_it_is_here(site: LineSite) -> None:
    site.linked("north")
    site.unlink("north")
    until(lambda: not site.is_here("north"))
    said = edge(site, "detectors", "rollback", "north", "--brand", BRAND).out
    assert said == "north judges parts of oats by the model before, as soon as it is here.\n"


def test_one_that_was_not_here_yet_is_not_called_away(site: LineSite) -> None:
    site.joined("north")
    assert "not seen for" in edge(site, "detectors", "list").out
    site.link("north")
    until(lambda: site.is_here("north"))
    site.unlink("north")
    until(lambda: "away for" in edge(site, "detectors", "list").out)


def test_what_is_no_detector_is_said_with_the_way_out(site: LineSite) -> None:
    for command in (["show", "x"], ["remove", "x"], ["brand", "x", "oats"], ["rollback", "x"]):
        ended = edge(site, "detectors", *command)
        assert ended.code == 3
        assert "no detector 'x'" in ended.err
    assert edge(site, "detectors", "add", "No Name").code == 2
    assert "edge server itself" in edge(site, "detectors", "add", "server").err


def test_without_a_line_or_its_service_one_message_says_what_to_do(tmp_path: Path) -> None:
    ended = called("detectors", "list", "--state", tmp_path, program=main)
    assert (ended.code, ended.err.count("\n")) == (3, 1)
    assert "cloudedge-edge line open" in ended.err
    opened = called("line", "open", "--state", tmp_path, "--listen", "127.0.0.1:7443", program=main)
    assert "not at work" in opened.out
    ended = called("detectors", "list", "--state", tmp_path, program=main)
    assert (ended.code, ended.err.count("\n")) == (5, 1)
    assert "runs beside the runner" in ended.err


def test_a_line_is_opened_shown_and_opened_otherwise(tmp_path: Path) -> None:
    call = ["line", "open", "--state", tmp_path, "--listen", "0.0.0.0:7443", "--page", "0.0.0.0:8080"]
    out = called(*call, "--models", "127.0.0.1:8000", "127.0.0.1:8001", program=main).out
    settings = read_settings(Folders(tmp_path))
    assert settings.join == "0.0.0.0:7444"
    assert f":8080/?key={settings.page_key}" in out
    assert Folders(tmp_path).line_settings.stat().st_mode & 0o777 == 0o600
    shown = json.loads(called("line", "show", "--state", tmp_path, "--json", program=main).out)
    assert shown["page_url"].endswith(settings.page_key)
    assert (shown["running"], shown["models_grpc"]) == (False, "127.0.0.1:8001")
    again = called("line", "open", "--state", tmp_path, "--listen", "127.0.0.1:7443", program=main).out
    assert "page:      http://127.0.0.1:7445/\n" in again
    assert read_settings(Folders(tmp_path)).page_key == settings.page_key


def test_a_runner_that_is_told_of_its_line_leaves_what_was_opened(tmp_path: Path) -> None:
    folders = Folders(tmp_path)
    have_line(folders, "127.0.0.1:7443")
    called("line", "open", "--state", tmp_path, "--listen", "127.0.0.1:7443", "--join", "127.0.0.1:9000", program=main)
    have_line(folders, "127.0.0.1:7443")
    assert read_settings(folders).join == "127.0.0.1:9000"
    have_line(folders, "127.0.0.1:7500")
    assert read_settings(folders).join == "127.0.0.1:7501"


@pytest.mark.parametrize("listen", ["7443", "127.0.0.1", "127.0.0.1:0", "::1:7443", "127.0.0.1:70000"])
def test_what_is_no_address_is_refused(tmp_path: Path, listen: str) -> None:
    ended = called("line", "open", "--state", tmp_path, "--listen", listen, program=main)
    assert ended.code == 2
    assert not Folders(tmp_path).line_settings.exists()


def test_two_things_cannot_listen_at_one_port(tmp_path: Path) -> None:
    call = ["line", "open", "--state", tmp_path, "--listen", "127.0.0.1:7443", "--page", "127.0.0.1:7444"]
    assert "a port of its own" in called(*call, program=main).err
