"""The program on a detector's machine: started, ended, killed, on a full disk, and what a person sees of it."""

import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

from cloudedge.names import sha256_of
from edge.detector.cli import main
from edge.detector.folders import DetectorFolders
from edge.detector.spool import Spool
from edge.detector.status import place, standing_of
from edge.lock import locked
from tests.edge.detector.station import DARK, WITHOUT_A_MODEL, Station, pictures
from tests.terminal import Ended, called
from tests.waiting import PATIENCE, until


def detector(*arguments: str | Path) -> Ended:
    """Run one of the commands."""
    return called(*arguments, program=main)


def images(station: Station) -> int:
    """How many the program says that it has inspected."""
    try:
        return standing_of(DetectorFolders(station.state))[0].status.images
    except Exception:
        return 0


def test_it_ends_when_told_and_has_written_all_that_it_judged(tmp_path: Path) -> None:
    station = Station(tmp_path)
    with station.process() as process:
        until(lambda: images(station) > 20, what="inspection")
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    verdicts = station.verdicts()
    standing, at_work = standing_of(DetectorFolders(station.state))
    assert not at_work
    assert standing.status.images == len(verdicts)
    spool = Spool(station.state / "spool", 10**9, 1000)
    assert [each.record.tick for each in spool.unsent(10_000)] == [each["tick"] for each in verdicts]
    spool.close()


def test_it_ends_by_itself_after_the_last_image_of_a_folder(tmp_path: Path) -> None:
    station = Station(tmp_path, {"source": {"kind": "folder", "path": str(pictures(tmp_path / "in", *[DARK] * 5))}})
    with station.process() as process:
        assert process.wait(PATIENCE) == 0
    assert [each["image"] for each in station.verdicts()] == [f"{number:03d}.png" for number in range(5)]


def test_after_a_kill_each_record_has_its_whole_image_and_it_goes_on(tmp_path: Path) -> None:
    station = Station(tmp_path, {"history": {"most_bytes": 1024 * 1024}})
    station.settings["encoder"]["per_second"] = 300
    last = 0
    for _ in range(3):
        with station.process() as process:
            until(lambda: len(station.verdicts()) > last + 300)  # noqa: B023 - enough that old ones are let go all the time
            process.kill()
            process.wait(PATIENCE)
        last = len(station.verdicts())
        spool = Spool(station.state / "spool", 1024 * 1024, 1000)
        found = spool.unsent(10_000)
        assert found
        assert all(sha256_of(each.image) == each.record.image_sha256 for each in found)
        assert len(list((station.state / "spool" / "images").iterdir())) == len(found) == spool.backlog()
        assert spool.bytes <= 1024 * 1024
        spool.close()
    assert all("tick" in each for each in station.verdicts())


def test_on_a_full_disk_the_inspection_goes_on_and_says_so(tmp_path: Path) -> None:
    """No file may be longer than the status, from one moment on: what a full disk looks like from inside."""
    station = Station(tmp_path, {"source": {"kind": "generator", "height": 128, "width": 128}})
    with station.process() as process:
        until(lambda: images(station) > 20)
        limited = psutil.Process(process.pid)
        status = DetectorFolders(station.state).status
        limited.rlimit(psutil.RLIMIT_FSIZE, (status.stat().st_size + 10_000, psutil.RLIM_INFINITY))

        def standing() -> tuple[int, int, int, str]:
            found = standing_of(DetectorFolders(station.state))[0]
            return found.status.images, found.let_go, found.status.lost, found.status.trouble

        until(lambda: standing()[1] > 20 and standing()[2] > 20 and "Images are not kept" in standing()[3])
        before = standing()[0]
        until(lambda: standing()[0] > before + 20)
        limited.rlimit(psutil.RLIMIT_FSIZE, (psutil.RLIM_INFINITY, psutil.RLIM_INFINITY))
        until(lambda: standing()[3] == WITHOUT_A_MODEL)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    assert sum("tick" in each for each in station.verdicts()) == images(station) - standing()[2]


def test_only_one_works_with_a_state(tmp_path: Path) -> None:
    station = Station(tmp_path)
    with station.process():
        until(lambda: images(station))
        with station.process() as second:
            assert second.wait(PATIENCE) == 4
    assert f"Another detector works in {station.state}." in station.log()


def test_it_ends_with_the_process_that_it_was_started_for(tmp_path: Path) -> None:
    station = Station(tmp_path)
    with (
        subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as parent,
        station.process("--parent", parent.pid) as process,
    ):
        until(lambda: images(station))
        assert parent.stdin is not None
        parent.stdin.close()
        assert process.wait(PATIENCE) == 128 + signal.SIGTERM


def test_it_loads_neither_torch_nor_what_is_not_configured(tmp_path: Path) -> None:
    heavy = ["torch", "av", "paho", "onnx", "typer", "rich", "cryptography", "grpc", "starlette", "uvicorn", "skimage"]
    code = (
        "import sys; import edge.detector.process as process; from edge.detector.detector import Detector; "
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "[]\n", done.stderr


def test_status_tells_a_person_and_a_program_how_it_stands(tmp_path: Path) -> None:
    station = Station(tmp_path, {"source": {"kind": "folder", "path": str(pictures(tmp_path / "in", *[DARK] * 3))}})
    station.inspected()
    shown = detector("status", "--state", station.state)
    assert shown.code == 0
    lines = dict(line.split(": ", 1) for line in shown.out.splitlines())
    assert lines["detector"].strip().startswith("north, not running since ")
    assert lines["brand"].strip() == "oats, judged by no model"
    assert lines["images"].strip() == "3: 0 rejected, 3 without a model, 0 errors, 0 ticks missed"
    found = detector("status", "--state", station.state, "--json").json
    assert (found["running"], found["status"]["images"], found["status"]["backlog"]) == (False, 3, 3)


def test_a_status_that_cannot_be_written_is_a_trouble_and_who_looks_sees_that_it_is_old(tmp_path: Path) -> None:
    station = Station(tmp_path)
    path = DetectorFolders(station.state).status
    with station.at_work() as running:
        running.keep_house()
        path.with_name(f".{path.name}").mkdir()  # In the way, as a full disk is.
        running.keep_house()
        assert "shows what was before: cannot write" in running.status().trouble
        path.with_name(f".{path.name}").rmdir()
        running.keep_house()
        assert "cannot write" not in running.status().trouble
        standing = standing_of(DetectorFolders(station.state))[0]
        old = standing.status.model_copy(update={"at": standing.status.at - timedelta(minutes=5)})
        place(path, standing.model_copy(update={"status": old}))
        with locked(DetectorFolders(station.state).lock, "detector"):
            shown = detector("status", "--state", station.state).out.splitlines()
    assert f"at work; this is from {old.at:%Y-%m-%d %H:%M:%S} UTC" in shown[0]


def test_status_of_a_directory_that_no_detector_has_used_is_not_found(tmp_path: Path) -> None:
    ended = detector("status", "--state", tmp_path)
    assert ended.code == 3
    assert f"No detector has used {tmp_path} yet." in ended.err


def test_check_says_all_that_is_wrong_with_a_document(tmp_path: Path) -> None:
    station = Station(tmp_path, {"queue": 0, "encoder": {"kind": "timer", "per_second": -1}, "colour": "red"})
    ended = detector("check", "--config", station.write_configuration())
    assert ended.code == 2
    for part in ("queue: found 0; give 1 or more", "per_second: found -1", "colour: no such field"):
        assert part in ended.err


def test_check_says_all_that_does_not_fit_this_machine(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    wrong = {
        "source": {"kind": "folder", "path": "no-folder"},
        "encoder": {"kind": "pulses", "path": "no-encoder"},
        "light": {"path": "file/light"},
        "results": {
            "file": {"path": "."},
            "mqtt": {"host": "broker", "topic": "a", "user": "me", "password_file": "no-password"},
        },
    }
    station = Station(tmp_path, wrong)
    ended = detector("check", "--config", station.write_configuration())
    assert ended.code == 2
    for field in ("source.path", "encoder.path", "light.path", "results.file.path", "results.mqtt"):
        assert f"- {field}: " in ended.err


def test_check_of_what_is_right_says_so_and_changes_nothing(tmp_path: Path) -> None:
    station = Station(tmp_path, {"light": {"path": "light"}})
    path = station.write_configuration()
    ended = detector("check", "--config", path)
    assert (ended.code, ended.out) == (0, f"{path} is right for this machine.\n")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["detector.json"]


@pytest.mark.parametrize(
    "arguments", [["run", "--state", "s", "--config", "missing.json"], ["check", "--config", "missing.json"]]
)
def test_a_configuration_that_is_not_there_is_not_found(tmp_path: Path, arguments: list[str]) -> None:
    code = "from edge.detector.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (3, "There is no configuration missing.json. Correct --config.\n")
