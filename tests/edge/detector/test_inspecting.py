"""Ticks, sources, the light and the results: what a line gives a detector, and what it gets."""

import contextlib
import errno
import json
import os
import sys
import threading
import time
from datetime import datetime
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from cloudedge.documents.base import parse
from cloudedge.documents.detector import Camera, Folder, Generator, ResultsFile, Timer, Verdict
from cloudedge.errors import InvalidInput
from edge.detector.results import FileSink
from edge.detector.sources import opened
from edge.detector.sources.base import Exhausted, ImageSource, Shot
from edge.detector.sources.camera import without_password
from edge.detector.ticks import Ticks
from tests.edge.detector.station import BRIGHT, DARK, UNHURRIED, WITHOUT_A_MODEL, Station, deployed, pictures
from tests.waiting import PATIENCE, until


def test_each_part_has_one_verdict_with_its_tick_and_times(tmp_path: Path) -> None:
    source = {"kind": "folder", "path": str(pictures(tmp_path / "in", DARK, BRIGHT, DARK)), "mode": "loop"}
    station = Station(tmp_path, {"source": source, "encoder": UNHURRIED})
    with station.at_work() as detector:
        deployable = deployed(detector, tmp_path)
        passed = len(station.verdicts())
        until(lambda: len(station.verdicts()) >= passed + 6)
    verdicts = station.verdicts()
    assert [each["tick"] for each in verdicts] == list(range(1, len(verdicts) + 1))
    for each in (each for each in verdicts if each["model"]):
        parse(Verdict, json.dumps(each), "a line")
        value = BRIGHT if each["image"] == "001.png" else DARK
        assert (each["score"], each["accepted"], each["defect"]) == (value, value == DARK, "" if value == DARK else "red")
        assert (each["detector"], each["brand"], each["model"]) == ("north", "oats", deployable.sha256)
        assert datetime.fromisoformat(each["taken_at"]) <= datetime.fromisoformat(each["judged_at"])
        assert each["ms"] > 0


def test_ticks_that_come_while_enough_wait_are_counted_as_missed(tmp_path: Path) -> None:
    pipe = tmp_path / "encoder"
    os.mkfifo(pipe)
    settings = {"encoder": {"kind": "pulses", "path": "encoder", "every": 2}, "queue": 3}
    station = Station(tmp_path, settings)
    entered, go_on = threading.Event(), threading.Event()
    detector = station.detector()
    answer = detector._answer

    def slow(*arguments: object) -> object:
        entered.set()
        assert go_on.wait(PATIENCE)
        return answer(*arguments)  # type: ignore[arg-type]

    detector._answer = slow  # type: ignore[assignment, method-assign]
    try:
        detector.start()
        with pipe.open("w") as encoder:
            encoder.write("pulse\n" * 3)
            encoder.flush()
            assert entered.wait(PATIENCE)
            encoder.write("pulse\n" * 19)
            encoder.flush()
            until(lambda: detector.standing().status.missed == 7)
            assert detector.standing().waiting == 3
            detector.keep_house()
            assert detector.status().trouble.startswith("7 ticks came while 3 waited already")
        go_on.set()
        until(lambda: len(station.verdicts()) == 4)
        with pipe.open("w") as encoder:  # Who writes may begin anew.
            encoder.write("pulse\npulse\n")
        until(lambda: len(station.verdicts()) == 5)
    finally:
        go_on.set()
        detector.close()
    assert [each["tick"] for each in station.verdicts()] == [1, 2, 3, 4, 12]


def test_of_a_file_of_pulses_only_new_whole_lines_count_and_it_may_be_replaced(tmp_path: Path) -> None:
    file = tmp_path / "encoder"
    file.write_text("old\n" * 50)
    station = Station(tmp_path, {"encoder": {"kind": "pulses", "path": "encoder"}})
    with station.at_work():
        until(lambda: is_read_to_its_end(file))
        with file.open("a") as encoder:
            encoder.write("one\ntwo\nthr")
            encoder.flush()
            until(lambda: len(station.verdicts()) == 2)
            encoder.write("ee\n")
            encoder.flush()
            until(lambda: len(station.verdicts()) == 3)
        (tmp_path / "new").write_text("one\n")
        (tmp_path / "new").replace(file)
        until(lambda: len(station.verdicts()) == 4)


def is_read_to_its_end(path: Path) -> bool:
    """Whether this process has a file open, and stands at its end."""
    with os.scandir("/proc/self/fd") as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                if Path(entry.path).readlink() == path:
                    return f"pos:\t{path.stat().st_size}\n" in Path(f"/proc/self/fdinfo/{entry.name}").read_text()
    return False


def test_an_encoder_that_is_not_there_is_said_and_tried_again(tmp_path: Path) -> None:
    station = Station(tmp_path, {"encoder": {"kind": "pulses", "path": "encoder"}})
    with station.at_work() as detector:
        until(lambda: "No pulses come from the encoder" in detector.status().trouble)
        (tmp_path / "encoder").write_text("one\n")
        until(lambda: len(station.verdicts()) == 1)
        assert detector.status().trouble == WITHOUT_A_MODEL


def test_a_timer_does_not_care_what_the_wall_clock_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    station = Station(tmp_path)
    with station.at_work():
        until(lambda: len(station.verdicts()) > 5)
        real = time.time
        monkeypatch.setattr(time, "time", lambda: real() - 1e9)
        passed = len(station.verdicts())
        until(lambda: len(station.verdicts()) > passed + 20)
        monkeypatch.setattr(time, "time", lambda: real() + 1e9)
        passed = len(station.verdicts())
        until(lambda: len(station.verdicts()) > passed + 20)


def test_a_source_that_fails_is_an_error_for_each_part_and_no_end(tmp_path: Path) -> None:
    class Broken(ImageSource):
        def take(self) -> Shot:
            raise RuntimeError("the lens fell off")

    ticks = Ticks(Timer(per_second=1000), Broken(), 4, tmp_path)
    ticks.start()
    first, second = ticks.next(), ticks.next()
    ticks.close()
    for tick in (first, second):
        assert tick is not None
        with pytest.raises(RuntimeError, match="the lens fell off"):
            tick.shot.pixels()


def test_a_picture_that_cannot_be_read_is_an_error_and_not_normal(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "in", DARK, DARK, DARK)
    (folder / "001.png").write_bytes(b"no picture")
    station = Station(tmp_path, {"source": {"kind": "folder", "path": "in"}})
    with station.at_work() as detector:
        assert detector.over.wait(PATIENCE)
        assert detector.status().errors == 1
    good, bad, _ = station.verdicts()
    assert (good["error"], bad["accepted"]) == ("", None)
    assert "001.png is no image" in bad["error"]


def test_the_crop_is_what_is_inspected_and_one_beyond_the_picture_is_an_error(tmp_path: Path) -> None:
    pictures(tmp_path / "in", DARK)
    station = Station(tmp_path, {"source": {"kind": "folder", "path": "in"}})
    station.settings["crop"] = {"left": 2, "top": 4, "width": 20, "height": 10}
    with station.at_work() as detector:
        until(lambda: detector.spool.backlog() == 1)
        with av.open(str(detector.spool.unsent(1)[0].image)) as image:
            assert (image.streams.video[0].width, image.streams.video[0].height) == (20, 10)
    station.settings["crop"]["left"] = 20
    assert station.inspected()[-1]["error"].startswith("The crop ends at 40 x 14 pixels, and the picture has 32 x 32.")


def test_folders_are_read_once_in_a_loop_or_for_as_long_as_more_comes(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "in", 1, 2)
    (folder / "notes.txt").write_text("no picture")
    (folder / ".hidden.png").write_bytes(b"")
    once = opened(Folder(path="in"), tmp_path)
    assert [once.take().name, once.take().name] == ["000.png", "001.png"]  # type: ignore[union-attr]
    with pytest.raises(Exhausted):
        once.take()
    loop = opened(Folder(path="in", mode="loop"), tmp_path)
    assert [loop.take().name for _ in range(5)] == ["000.png", "001.png", "000.png", "001.png", "000.png"]  # type: ignore[union-attr]
    watched = opened(Folder(path="in", mode="watch"), tmp_path)
    assert [watched.take().name, watched.take().name, watched.take()] == ["000.png", "001.png", None]  # type: ignore[union-attr]
    (folder / "002.png").write_bytes(b"half")
    assert watched.take() is None
    (folder / "002.png").write_bytes(b"half and whole")
    assert watched.take() is None
    assert watched.take().name == "002.png"  # type: ignore[union-attr]
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    assert watched.take() is None
    assert "Bring the folder back" in watched.trouble
    with pytest.raises(InvalidInput, match="Cannot look into"):
        opened(Folder(path="in"), tmp_path)


def test_generated_parts_are_the_same_for_a_seed_and_their_truth_shows(tmp_path: Path) -> None:
    def parts(seed: int) -> list[tuple[str, bytes]]:
        source = opened(Generator(defects=0.5, seed=seed, most=20, height=64, width=48), tmp_path)
        shots = [source.take() for _ in range(20)]
        with pytest.raises(Exhausted):
            source.take()
        return [(shot.truth, shot.pixels().tobytes()) for shot in shots if shot is not None]

    assert parts(1) == parts(1) != parts(2)
    truths = {truth for truth, _ in parts(1)}
    assert truths == {"normal", "scratch", "stain", "hole"}


def test_the_results_of_generated_parts_have_the_truth(tmp_path: Path) -> None:
    station = Station(tmp_path, {"source": {"kind": "generator", "defects": 1, "most": 3}})
    assert all(each["truth"] in ("scratch", "stain", "hole") for each in station.inspected())


def test_the_light_is_told_what_changes_and_one_that_cannot_be_told_is_said(tmp_path: Path) -> None:
    light = {"path": "light", "level": 40, "brands": {"rye": 90}, "command": "SET {level}%"}
    station = Station(tmp_path, {"light": light})
    with station.at_work() as detector:
        assert (tmp_path / "light").read_text() == "SET 40%\n"
        (tmp_path / "light").unlink()
        detector.keep_house()
        assert not (tmp_path / "light").exists()
        detector.use_brand("rye")
        assert (tmp_path / "light").read_text() == "SET 90%\n"
        (tmp_path / "light").unlink()
        (tmp_path / "light").mkdir()
        detector.use_brand("oats")
        assert detector.status().trouble.startswith("The light was not set to 40: Cannot write")
        (tmp_path / "light").rmdir()
        detector.keep_house()
        assert (tmp_path / "light").read_text() == "SET 40%\n"
        assert detector.status().trouble == WITHOUT_A_MODEL


def test_a_full_results_file_is_put_aside(tmp_path: Path) -> None:
    sink = FileSink(ResultsFile(path="results", most_bytes=4096), tmp_path)
    for number in range(100):
        sink.take(b"%03d" % number + b"x" * 96)  # 100 bytes.
    sink.close()
    old, new = (tmp_path / "results.1").read_bytes().splitlines(), (tmp_path / "results").read_bytes().splitlines()
    assert len(old) == 40  # Of 100 bytes each, with the end of the line.
    assert [int(line[:3]) for line in [*old, *new]] == list(range(40, 100))
    assert (sink.lost, sink.trouble) == (0, "")


def test_where_no_new_results_file_can_be_opened_lines_go_to_the_former_one_until_one_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = FileSink(ResultsFile(path="results", most_bytes=4096), tmp_path)
    with monkeypatch.context() as full:
        full.setattr("edge.detector.results.os.open", _no_space)
        for number in range(50):
            sink.take(b"%03d" % number + b"x" * 96)  # 100 bytes.
        assert (sink.lost, "No space left" in sink.trouble) == (10, True)
    for number in range(50, 60):
        sink.take(b"%03d" % number + b"x" * 96)
    sink.close()
    old, new = (tmp_path / "results.1").read_bytes().splitlines(), (tmp_path / "results").read_bytes().splitlines()
    assert [int(line[:3]) for line in [*old, *new]] == [*range(40), *range(50, 60)]
    assert (sink.lost, sink.trouble) == (10, "")


def _no_space(*_: object) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_line_that_was_cut_short_is_ended_before_the_next(tmp_path: Path) -> None:
    (tmp_path / "results").write_bytes(b'{"whole": 1}\n{"ha')
    sink = FileSink(ResultsFile(path="results"), tmp_path)
    sink.take(b"{}")
    sink.close()
    assert (tmp_path / "results").read_bytes() == b'{"whole": 1}\n{"ha\n{}\n'


def coded(path: Path, values: list[int]) -> Path:
    """A film of gray pictures."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=Fraction(25))
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for value in values:
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), value, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def jpeg(value: int) -> bytes:
    content = BytesIO()
    Image.new("RGB", (64, 48), (value,) * 3).save(content, "JPEG")
    return content.getvalue()


class NetworkCamera(ThreadingHTTPServer):
    """A camera that sends MJPEG to whoever connects; it may be unplugged."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Stream)
        self.value = DARK
        self.plugged = threading.Event()
        self.plugged.set()
        self.connections = 0


class _Stream(BaseHTTPRequestHandler):
    server: NetworkCamera

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        if not self.server.plugged.is_set():
            self.send_error(503)
            return
        self.server.connections += 1
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        pace = threading.Event()
        while self.server.plugged.is_set():
            content = jpeg(self.server.value)
            try:
                self.wfile.write(
                    b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(content) + content + b"\r\n"
                )
            except OSError:
                return
            pace.wait(0.02)


def test_the_newest_picture_of_a_network_camera_is_inspected_and_one_that_went_is_found_again(tmp_path: Path) -> None:
    with NetworkCamera() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://user:secret@127.0.0.1:{server.server_address[1]}/stream"
        camera = {"kind": "camera", "address": address, "wait_seconds": 3, "options": {"analyzeduration": "0"}}
        station = Station(tmp_path, {"source": camera})
        try:
            with station.at_work() as detector:
                deployed(detector, tmp_path)
                until(lambda: station.last().get("accepted") is True)
                server.value = BRIGHT
                until(lambda: station.last().get("accepted") is False)
                judged = [each for each in station.verdicts() if each["accepted"] is not None]
                assert abs(judged[-1]["score"] - BRIGHT) < 3
                server.plugged.clear()
                until(lambda: "The camera http://127.0.0.1" in detector.status().trouble)
                until(lambda: "old when the tick came" in station.last().get("error", ""))
                assert station.last()["accepted"] is None
                assert "secret" not in detector.status().trouble + json.dumps(station.verdicts())
                server.plugged.set()
                until(lambda: station.last().get("accepted") is False)
                assert server.connections >= 2
        finally:
            server.plugged.clear()
            server.shutdown()


def test_a_film_is_a_camera_too_and_begins_anew_when_it_ends(tmp_path: Path) -> None:
    coded(tmp_path / "film.mkv", [DARK] * 5)
    source = opened(Camera(address="film.mkv", fresh_seconds=600), tmp_path)
    try:
        until(lambda: _mean(source) is not None)
        assert abs((_mean(source) or 0) - DARK) < 5
        until(lambda: "has ended" in source.trouble)
    finally:
        source.close()


def _mean(source: ImageSource) -> float | None:
    shot = source.take()
    try:
        return float(shot.pixels().mean()) if shot else None
    except Exception:
        return None


def test_a_camera_without_pyav_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(InvalidInput, match="Install cloudedge with its extra 'camera'"):
        opened(Camera(address="/dev/video0"), tmp_path)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://me:secret@cam:554/a", "rtsp://cam:554/a"),
        ("http://cam/a@b", "http://cam/a@b"),
        ("/dev/video0", "/dev/video0"),
        ("Cannot open rtsp://me:a@b@cam/x : refused", "Cannot open rtsp://cam/x : refused"),
    ],
)
def test_no_message_has_a_password(text: str, shown: str) -> None:
    assert without_password(text) == shown
