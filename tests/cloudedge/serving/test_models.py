"""Models are swapped beside what is in use, and whatever goes wrong, the old one goes on."""

import gc
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import CancelledError
from pathlib import Path

import numpy as np
import pytest

from cloudedge.documents.deployable import Deployable
from cloudedge.errors import Conflict, InvalidInput, InvalidModel, NotFound, StoreFailed, WorkFailed
from cloudedge.files import TEMPORARY
from cloudedge.serving.models import STEPS, Loaded, Models, version_of
from tests.cloudedge.serving.small import WIDTH, failing, times
from tests.waiting import until

PATIENCE = 60


class Shop:
    """Models in a folder, and files to put there."""

    def __init__(self, folder: Path) -> None:
        self.files = folder / "files"
        self.files.mkdir()
        self.folder = folder / "models"
        self.models = Models(self.folder)

    def put(self, factor: float, brand: str = "oats", threshold: float | None = None) -> str:
        path = self.files / f"{brand}-{factor}.onnx"
        return self.models.put(times(path, factor, brand, threshold), path)

    def use(self, factor: float, brand: str = "oats", threshold: float | None = None) -> Loaded:
        version = self.put(factor, brand, threshold)
        return self.models.load(brand, version).result(PATIENCE)

    def restart(self) -> None:
        self.models.close()
        self.models = Models(self.folder)

    def answer(self, brand: str = "oats") -> float:
        current = self.models.current(brand)
        assert current is not None
        return factor(current)

    def on_disk(self, brand: str = "oats") -> set[str]:
        return {path.name for path in (self.folder / brand).iterdir() if path.is_dir()}


def factor(loaded: Loaded) -> float:
    """Which model answers."""
    return float(loaded.infer({"x": np.ones((1, WIDTH), np.float32)})["score"][0]) / WIDTH


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(tmp_path)
    yield shop
    shop.models.close()


class Gate:
    """A progress that holds a load where it is until it is opened."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.opened = threading.Event()

    def __call__(self, done: int, total: int) -> None:
        self.reached.set()
        assert self.opened.wait(PATIENCE)


def test_a_version_that_is_put_is_on_disk_and_not_in_use(shop: Shop) -> None:
    version = shop.put(2)

    assert shop.models.current("oats") is None
    assert [(each.version, each.state) for each in shop.models.list()] == [(version, "on-disk")]
    assert json.loads((shop.folder / "oats" / version / "deployable.json").read_bytes())["sha256"].startswith(version)


def test_a_load_tells_its_steps_and_brings_the_model_into_use(shop: Shop) -> None:
    version, steps = shop.put(2), list[tuple[int, int]]()

    loaded = shop.models.load("oats", version, lambda done, total: steps.append((done, total))).result(PATIENCE)

    assert steps == [(1, STEPS), (2, STEPS)]
    assert shop.models.current("oats") is loaded
    assert (loaded.name, loaded.version, shop.answer()) == ("oats", version, 2)


def test_a_hundred_deployments_work_as_the_first(shop: Shop) -> None:
    for number in range(1, 101):
        shop.use(number)
        assert shop.answer() == number

    assert len(shop.on_disk()) == 2
    assert shop.models.counts()["oats"].swaps == 99
    assert shop.models.counts()["oats"].loads == 100


def test_only_the_version_in_use_and_the_one_before_stay_loaded(shop: Shop) -> None:
    sessions = [weakref.ref(shop.use(number).session) for number in range(1, 6)]
    until(lambda: shop.models._slots["oats"].thread is None, what="the end of the loading thread")
    gc.collect()

    assert [session() is not None for session in sessions] == [False, False, False, True, True]


def test_a_request_that_began_on_the_old_model_ends_on_it(shop: Shop) -> None:
    held = [shop.use(number) for number in range(1, 4)]

    assert [factor(loaded) for loaded in held] == [1, 2, 3]


def test_the_old_model_answers_for_as_long_as_the_new_one_is_loaded(shop: Shop) -> None:
    shop.use(1)
    gate = Gate()
    loading = shop.models.load("oats", shop.put(2), gate)
    assert gate.reached.wait(PATIENCE)

    assert shop.answer() == 1
    assert [each.state for each in shop.models.list()] == ["in-use", "loading"]
    gate.opened.set()
    loading.result(PATIENCE)
    assert shop.answer() == 2


def test_loads_are_no_work_of_the_thread_that_asks_and_are_done_in_its_order(shop: Shop) -> None:
    versions, gate, threads = [shop.put(number) for number in (1, 2, 3)], Gate(), list[str]()

    first = shop.models.load("oats", versions[0], gate)
    others = [
        shop.models.load("oats", version, lambda *_: threads.append(threading.current_thread().name))
        for version in versions[1:]
    ]
    assert gate.reached.wait(PATIENCE)
    assert [other.running() for other in others] == [False, False]
    gate.opened.set()

    assert [loading.result(PATIENCE).version for loading in (first, *others)] == versions
    assert shop.answer() == 3
    assert set(threads) == {"load-oats"}


def test_another_brand_is_loaded_while_one_is(shop: Shop) -> None:
    gate = Gate()
    slow = shop.models.load("oats", shop.put(1), gate)
    assert gate.reached.wait(PATIENCE)

    shop.use(2, "rye")

    assert not slow.done()
    gate.opened.set()
    slow.result(PATIENCE)
    assert (shop.answer("oats"), shop.answer("rye")) == (1, 2)
    assert shop.models.names() == ("oats", "rye")


def test_more_loads_than_can_wait_are_refused(shop: Shop) -> None:
    gate, version = Gate(), shop.put(1)
    first = shop.models.load("oats", version, gate)
    assert gate.reached.wait(PATIENCE)
    waiting = [shop.models.load("oats", version) for _ in range(8)]

    with pytest.raises(Conflict, match="8 loads of 'oats' wait already"):
        shop.models.load("oats", version)

    gate.opened.set()
    assert {loading.result(PATIENCE) for loading in (first, *waiting)} == {shop.models.current("oats")}


def test_a_load_that_waits_can_be_given_up(shop: Shop) -> None:
    gate = Gate()
    first = shop.models.load("oats", shop.put(1), gate)
    assert gate.reached.wait(PATIENCE)
    second = shop.models.load("oats", shop.put(2))

    assert second.cancel()

    gate.opened.set()
    first.result(PATIENCE)
    with pytest.raises(CancelledError):
        second.result(PATIENCE)
    until(lambda: shop.models._slots["oats"].thread is None)
    assert shop.answer() == 1


def test_a_model_that_fails_on_its_first_input_is_never_in_use(shop: Shop) -> None:
    shop.use(1)
    path = shop.files / "failing.onnx"
    version = shop.models.put(failing(path), path)

    loading = shop.models.load("oats", version)

    with pytest.raises(WorkFailed):
        loading.result(PATIENCE)
    assert shop.answer() == 1
    assert shop.models.counts()["oats"].failed_loads == 1
    assert version in shop.models.list()[0].reason
    shop.use(2)
    assert shop.answer() == 2
    assert version not in shop.on_disk()
    assert shop.models.list()[0].reason == ""


def test_a_version_whose_bytes_changed_on_disk_is_not_loaded(shop: Shop) -> None:
    shop.use(1)
    version = shop.put(2)
    path = shop.folder / "oats" / version / "model.onnx"
    path.write_bytes(path.read_bytes()[:-1] + b"?")

    with pytest.raises(InvalidModel, match="digest"):
        shop.models.load("oats", version).result(PATIENCE)

    assert shop.answer() == 1
    shop.use(2)  # Put again, it is whole again.
    assert shop.answer() == 2


def test_what_breaks_in_a_load_is_said_and_changes_nothing(shop: Shop) -> None:
    shop.use(1)

    def broken(done: int, total: int) -> None:
        raise RuntimeError("whoever listened is gone")

    with pytest.raises(WorkFailed, match="whoever listened is gone"):
        shop.models.load("oats", shop.put(2), broken).result(PATIENCE)

    assert shop.answer() == 1


def test_without_a_version_the_one_put_last_is_loaded_and_then_the_one_in_use(shop: Shop) -> None:
    shop.put(1)
    newest = shop.put(2)

    assert shop.models.load("oats").result(PATIENCE).version == newest
    assert shop.models.load("oats").result(PATIENCE).version == newest
    assert shop.models.counts()["oats"].swaps == 0


@pytest.mark.parametrize(("name", "version"), [("rye", None), ("oats", "0" * 12), ("oats", "../../etc")])
def test_what_is_not_on_disk_is_not_loaded(shop: Shop, name: str, version: str | None) -> None:
    shop.use(1)

    with pytest.raises(NotFound, match="There is no"):
        shop.models.load(name, version)


def test_the_version_of_another_brand_is_not_loaded_by_a_path(shop: Shop) -> None:
    other = shop.use(2, "rye").version
    shop.use(1)

    with pytest.raises(NotFound, match="There is no version"):
        shop.models.load("oats", f"../rye/{other}")


def test_a_rollback_is_at_once_and_once(shop: Shop) -> None:
    first, second = shop.use(1), shop.use(2)

    assert shop.models.rollback("oats") is first
    assert shop.answer() == 1
    with pytest.raises(NotFound, match="no version before"):
        shop.models.rollback("oats")
    assert shop.answer() == 1
    assert second.version in shop.on_disk()
    shop.models.load("oats", second.version).result(PATIENCE)  # It can be had again by its name.
    assert shop.answer() == 2
    assert shop.models.counts()["oats"].rollbacks == 1


def test_without_a_version_a_load_after_a_rollback_does_not_bring_back_what_was_left(shop: Shop) -> None:
    shop.use(1)
    shop.use(2)
    shop.models.rollback("oats")

    shop.models.load("oats").result(PATIENCE)

    assert shop.answer() == 1


def test_a_rollback_while_another_version_is_loaded(shop: Shop) -> None:
    shop.use(1)
    shop.use(2)
    gate = Gate()
    loading = shop.models.load("oats", shop.put(3), gate)
    assert gate.reached.wait(PATIENCE)

    shop.models.rollback("oats")

    assert shop.answer() == 1
    gate.opened.set()
    loading.result(PATIENCE)
    assert shop.answer() == 3
    shop.restart()
    assert shop.answer() == 3
    assert factor(shop.models.rollback("oats")) == 1


def test_what_is_unloaded_is_not_in_use_and_comes_back_only_when_asked_for(shop: Shop) -> None:
    held = shop.use(1)

    shop.models.unload("oats")

    assert shop.models.current("oats") is None
    assert factor(held) == 1
    shop.restart()
    assert shop.models.current("oats") is None
    shop.models.load("oats").result(PATIENCE)
    assert shop.answer() == 1
    shop.restart()
    assert shop.answer() == 1


def test_a_load_that_was_under_way_when_its_name_was_unloaded_is_given_up(shop: Shop) -> None:
    gate = Gate()
    loading = shop.models.load("oats", shop.put(1), gate)
    assert gate.reached.wait(PATIENCE)

    shop.models.unload("oats")
    gate.opened.set()

    with pytest.raises(Conflict, match="unloaded"):
        loading.result(PATIENCE)
    assert shop.models.current("oats") is None


def test_a_restart_brings_back_what_was_in_use_and_what_was_before(shop: Shop) -> None:
    shop.use(1)
    shop.use(2)

    shop.restart()

    assert shop.answer() == 2
    assert factor(shop.models.rollback("oats")) == 1
    shop.restart()
    assert shop.answer() == 1


def test_a_spoiled_version_at_the_start_is_replaced_by_the_one_before_and_said(shop: Shop) -> None:
    shop.use(1)
    spoiled = shop.use(2).version
    (shop.folder / "oats" / spoiled / "model.onnx").write_bytes(b"")

    shop.restart()

    assert shop.answer() == 1
    assert spoiled in shop.models.list()[0].reason
    assert shop.use(2).version == spoiled
    shop.restart()
    assert shop.answer() == 2


@pytest.mark.parametrize("name", ["model.onnx", "deployable.json"])
def test_a_version_of_which_a_file_is_gone_is_replaced_by_the_one_before(shop: Shop, name: str) -> None:
    shop.use(1)
    (shop.folder / "oats" / shop.use(2).version / name).unlink()

    shop.restart()

    assert shop.answer() == 1


def test_nothing_is_in_use_where_all_is_spoiled_and_a_deployment_mends_it(shop: Shop) -> None:
    version = shop.use(1).version
    (shop.folder / "oats" / version / "deployable.json").write_bytes(b"{")

    shop.restart()

    assert shop.models.current("oats") is None
    assert "none is in use" in shop.models.list()[0].reason
    shop.use(1)
    assert shop.answer() == 1


def test_where_nobody_knows_what_was_in_use_the_newest_is(shop: Shop) -> None:
    shop.use(1)
    newest = shop.use(2).version
    os.utime(shop.folder / "oats" / newest, (2e9, 2e9))
    (shop.folder / "oats" / "current.json").write_bytes(b"\0" * 20)

    shop.restart()

    assert shop.answer() == 2
    assert "current.json" in shop.models.list()[0].reason


def test_the_same_file_with_another_threshold_is_loaded_and_rolled_back(shop: Shop) -> None:
    shop.use(1, threshold=1.0)
    assert shop.use(1, threshold=2.0).deployable.threshold == 2.0
    assert len(shop.on_disk()) == 1

    assert shop.models.rollback("oats").deployable.threshold == 1.0

    shop.restart()
    current = shop.models.current("oats")
    assert current is not None
    assert current.deployable.threshold == 1.0


def test_a_file_that_is_not_the_announced_one_is_refused_and_leaves_nothing(shop: Shop) -> None:
    path = shop.files / "a.onnx"
    deployable = times(path, 1)
    path.write_bytes(path.read_bytes() + b"!")

    with pytest.raises(InvalidModel):
        shop.models.put(deployable, path)

    assert shop.models.list() == ()
    assert list((shop.folder / "oats").iterdir()) == []


def test_a_model_of_no_brand_goes_by_its_own_name_or_by_the_one_it_is_put_for(shop: Shop) -> None:
    path = shop.files / "a.onnx"
    deployable = times(path, 1, brand="")

    shop.models.put(deployable, path)
    shop.models.put(deployable, path, "rye")

    assert [each.name for each in shop.models.list()] == ["rye", "small"]
    with pytest.raises(InvalidInput, match="'../up' is not a name"):
        shop.models.put(deployable, path, "../up")


def test_a_disk_that_is_full_is_said_and_the_old_model_goes_on(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.use(1)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr("shutil.copyfile", full)
        with pytest.raises(StoreFailed, match="disk is full"):
            shop.put(2)
    version = shop.put(3)
    with monkeypatch.context() as disk:
        disk.setattr("os.fsync", full)
        with pytest.raises(StoreFailed, match="disk is full"):
            shop.models.load("oats", version).result(PATIENCE)

    assert shop.answer() == 1
    assert [path for path in shop.folder.rglob("*") if path.name.startswith(TEMPORARY)] == []
    shop.restart()
    assert shop.answer() == 1


def test_a_folder_is_of_one_process(shop: Shop) -> None:
    with pytest.raises(Conflict, match="Another process"):
        Models(shop.folder)


def test_what_is_closed_loads_nothing_more(shop: Shop) -> None:
    version = shop.put(1)
    shop.models.close()

    with pytest.raises(Conflict, match="closed"):
        shop.models.load("oats", version)
    with pytest.raises(Conflict, match="closed"):
        shop.put(2)


def test_a_named_version_is_found_while_it_is_loaded(shop: Shop) -> None:
    first, second = shop.use(1), shop.use(2)

    assert shop.models.find("oats") is second
    assert shop.models.find("oats", first.version) is first
    with pytest.raises(NotFound, match="'0123' of the model 'oats' is not loaded"):
        shop.models.find("oats", "0123")
    with pytest.raises(NotFound, match="loaded are: oats"):
        shop.models.find("rye")


def test_answers_are_of_one_model_while_others_come_and_go(shop: Shop) -> None:
    """Many threads ask for as long as models are swapped: each answer is that of the model that was taken."""
    shop.use(1)
    over, wrong, asked = threading.Event(), list[float](), [0] * 2

    def ask(thread: int) -> None:
        while not over.is_set():
            current = shop.models.current("oats")
            assert current is not None
            threshold = current.deployable.threshold or 1.0
            answer = factor(current)
            asked[thread] += 1
            if answer != threshold:
                wrong.append(answer)

    threads = [threading.Thread(target=ask, args=(each,)) for each in range(2)]
    for thread in threads:
        thread.start()
    try:
        for number in range(2, 30):
            shop.use(number, threshold=number)
    finally:
        over.set()
        for thread in threads:
            thread.join()

    assert wrong == []
    assert min(asked) > 0


def test_whenever_the_process_is_killed_a_restart_has_the_old_or_the_new_model(shop: Shop, tmp_path: Path) -> None:
    program = textwrap.dedent("""
        import os, signal, sys
        from pathlib import Path
        from cloudedge.documents.deployable import Deployable
        from cloudedge.serving.models import Models

        folder, *files = sys.argv[1:]

        def counted(name):
            real = getattr(os, name)
            def called(*arguments, **named):
                global left
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*arguments, **named)
            setattr(os, name, called)

        for step in range(1000):  # Killed before the first call that changes something on disk, the second, ...
            process = os.fork()
            if process:
                state = os.waitpid(process, 0)[1]
                print(state, flush=True)
                sys.stdin.readline()
                if state == 0:
                    break
                continue
            left = step
            for name in ("fsync", "rename", "replace", "mkdir", "rmdir", "unlink", "open"):
                counted(name)
            models = Models(Path(folder))
            for path in map(Path, files):
                deployable = Deployable.model_validate_json(path.with_suffix(".json").read_bytes())
                models.load("oats", models.put(deployable, path)).result(60)
            os._exit(0)
    """)
    files = []
    for number in (2, 3):
        path = tmp_path / f"{number}.onnx"
        path.with_suffix(".json").write_bytes(times(path, number).to_json())
        files.append(path)
    shop.use(0)
    shop.use(1)
    shop.models.close()
    command = [sys.executable, "-c", program, str(shop.folder), *map(str, files)]
    states, answers = list[int](), list[float]()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for line in process.stdout:
            states.append(int(line))
            shop.models = Models(shop.folder)
            answers.append(shop.answer())
            assert not list(shop.folder.rglob(f"{TEMPORARY}*"))
            shop.use(0)
            shop.use(1)  # A deployment works as ever.
            assert shop.answer() == 1
            shop.models.close()
            process.stdin.write("\n")
            process.stdin.flush()

    assert states[-1] == 0
    assert set(states[:-1]) == {signal.SIGKILL}
    assert set(answers) == {1, 2, 3}
    assert answers == sorted(answers)


def test_a_models_version_is_of_its_files_digest(shop: Shop) -> None:
    deployable: Deployable = times(shop.files / "a.onnx", 1)

    assert version_of(deployable) == deployable.sha256[:12] == shop.models.put(deployable, shop.files / "a.onnx")


def test_who_only_judges_loads_no_server_and_no_torch() -> None:
    heavy = ["grpc", "onnx", "prometheus_client", "starlette", "torch", "uvicorn"]
    program = f"import sys, cloudedge.serving.models\nprint([name for name in {heavy!r} if name in sys.modules])"

    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "[]\n"
