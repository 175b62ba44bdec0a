"""The demo of inspection, from beginning to end."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cloud.keys import run_key
from cloud.runs.run import Run as StoredRun
from cloudedge.documents import Task as TaskDocument
from cloudedge.documents.inspection import Bounds, Gathering, InspectionTraining, Rollout
from cloudedge.documents.tasks.inspection_deployment import InspectionDeploymentTask, Override
from cloudedge.documents.tasks.inspection_training import GateBounds, InspectionTrainingTask
from cloudedge.files import disk_errors
from components.inspection_training.gate.images import labelled_images
from components.inspection_training.gate.scoring import score
from components.systems import steps_of
from pipelines.experiments.laptop import Laptop
from pipelines.experiments.run import Run
from pipelines.experiments.task import Task
from pipelines.inspection_demo.plant import Plant
from pipelines.inspection_demo.textures import Texture, write_belt, write_parts, write_test_set
from pipelines.laptop.home import Home

LINE = "line-1"
OLD, NEW = "gravel", "brick"
"""Brands: the one that the line made so far, and the one that it makes from now on."""

DETECTORS = ("camera-1", "camera-2", "camera-3")
_PER_SECOND = 15.0
_TAUGHT = 16
"""Parts in order that each of the detectors is taught."""

_OLD_PARTS = 24
_TEST_NORMAL, _TEST_DEFECTS = 60, 20
_BELT, _DEFECT_EVERY = 60, 10
_WRITTEN = ".written"

_WATCH_SECONDS = 3.0


def show(home: Path, say: Callable[[str], None], stay: Callable[[str], None]) -> dict[str, Any]:
    """Bring a new brand onto a line.

    Args:
        home: Folder that everything lives in.
        say: Tells what happens.
        stay: Called at the end with the address of the line's page, which is there until it returns.

    Returns:
        What came of it, for programs.

    Raises:
        CloudedgeError: something went wrong; the same command begins anew.
    """
    began, home = time.monotonic(), home.absolute()
    opened = Home(home)
    data, stamp = _data(home / "data" / "inspection", say), f"{int(time.time()):x}"
    folder = home / "inspection"
    plant = Plant(folder, opened.edge_state(LINE))
    with Laptop(home) as laptop:
        try:
            page = plant.open()
            say(f"1. A model for the brand that the line made so far, {OLD}: the line's edge server trains, the cloud judges.")
            old = _run(laptop, data, _training(OLD, f"{OLD}-{stamp}", 8))
            say(f"2. The line makes {NEW} now. Three detectors join it, and judge by the model for {OLD} as there is no other.")
            for name in DETECTORS:
                _let_pass(data, name, "in-order")
                plant.start(name, _belt(data, name), _PER_SECOND)
            plant.until("That all detectors are here", lambda: _all_here(plant) or None)
            plant.use_brand(NEW)
            _run(laptop, data, _deployment(f"{NEW}-by-{OLD}-{stamp}", old.id, in_a_hurry=True))
            say(f"3. {len(DETECTORS) * _TAUGHT} parts of {NEW} that are in order are taught, and a model is trained from them.")
            for name in DETECTORS:
                plant.teach(name, NEW, _TAUGHT)
            trained = _run(laptop, data, _training(NEW, f"{NEW}-{stamp}", _TAUGHT * len(DETECTORS)))
            for name in DETECTORS:
                _let_pass(data, name, "all")
            say("4. It passed its gate: one detector gets it first, then the others, while all of them inspect.")
            before = _missed(plant)
            deployed = _run(laptop, data, _deployment(f"{NEW}-deployment-{stamp}", trained.id))
            after = _missed(plant)
            say(f"5. {DETECTORS[0]} goes back to the model before by one command.")
            rollback_seconds = _roll_back(plant, DETECTORS[0])
            auroc = {"old": _auroc_of_old(opened, old, data), "new": _gate(trained)["auroc"]}
            outcomes = deployed.summary["detectors"]
            summary = {
                "auroc": auroc,
                "swaps": {
                    "done": sum(outcome["state"] == "serving" for outcome in outcomes.values()),
                    "dropped": sum(after.values()) - sum(before.values()),
                    "longest_gap_ms": max((outcome["swap_gap_ms"] for outcome in outcomes.values()), default=0.0),
                },
                "rollback": {"detector": DETECTORS[0], "seconds": round(rollback_seconds, 3)},
                "gate": _gate(trained),
                "detectors": outcomes,
                "runs": {"old": old.id, "training": trained.id, "deployment": deployed.id},
                "reports": {run.id: str(opened.store.root / run_key(run.id, "report.html")) for run in (trained, deployed)},
                "page": page,
                "seconds": round(time.monotonic() - began, 1),
            }
            _tell(summary, say)
            stay(page)
            return summary
        finally:
            plant.close()


def _data(folder: Path, say: Callable[[str], None]) -> Path:
    """The demo's images, which are laid out if they are not there."""
    if (folder / _WRITTEN).exists():
        return folder
    say("The images are laid out.")
    with disk_errors(folder):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    old, new = Texture(OLD), Texture(NEW)
    write_parts(folder / "edges" / LINE / OLD / "normal", old, "trained", _OLD_PARTS)
    write_test_set(folder / "test" / OLD, old, _TEST_NORMAL, _TEST_DEFECTS)
    write_test_set(folder / "test" / NEW, new, _TEST_NORMAL, _TEST_DEFECTS)
    for name in DETECTORS:
        write_parts(folder / "belts" / name / "in-order", new, "trained", _BELT)
        write_belt(folder / "belts" / name / "all", new, _BELT, _DEFECT_EVERY)
    with disk_errors(folder):
        (folder / _WRITTEN).touch()
    return folder


def _training(brand: str, run: str, least: int) -> InspectionTrainingTask:
    return InspectionTrainingTask(
        name=f"Inspection of {brand}",
        id=run,
        line=LINE,
        training=InspectionTraining(brand=brand, gathering=Gathering(least_images=least)),
        # Gravel seen this close is a chaotic texture: what can be told there is less.
        gate=GateBounds() if brand == NEW else GateBounds(auroc=0.5, accuracy=0.0),
    )


def _deployment(run: str, model: str, *, in_a_hurry: bool = False) -> InspectionDeploymentTask:
    override = Override()
    if in_a_hurry:
        override = Override(by="the demo", reason=f"The line makes {NEW} now, and there is no model for it yet.")
    return InspectionDeploymentTask(
        name=f"{model} for {NEW}",
        id=run,
        line=LINE,
        brand=NEW,
        model=model,
        override=override,
        rollout=Rollout(canaries=0 if in_a_hurry else 1, canary_seconds=_WATCH_SECONDS),
        # The old model may do what it wants: what it is good for here is to be seen.
        bounds=Bounds(watch_seconds=0 if in_a_hurry else _WATCH_SECONDS, reject_rate=0.5),
    )


def _run(laptop: Laptop, data: Path, task: TaskDocument) -> Run:
    return laptop.run(Task.of(task), data)


def _belt(data: Path, detector: str) -> Path:
    """What passes a detector: a link that leads to the one or the other parts."""
    return data / "belts" / detector / "now"


def _let_pass(data: Path, detector: str, parts: str) -> None:
    """Have other parts pass a detector from now on: only those in order, while it is taught, or all."""
    belt = _belt(data, detector)
    following = belt.with_name(".next")
    with disk_errors(belt):
        following.unlink(missing_ok=True)
        following.symlink_to(parts)
        following.replace(belt)


def _all_here(plant: Plant) -> bool:
    here = {found["name"] for found in plant.report() if found["connected"]}
    return here >= set(DETECTORS)


def _missed(plant: Plant) -> dict[str, int]:
    """Parts that passed a detector without a judgement, since its start."""
    return {
        name: standing["status"]["missed"] + standing["status"]["errors"]
        for name in DETECTORS
        for standing in [plant.standing(name)]
    }


def _roll_back(plant: Plant, name: str) -> float:
    """Have a detector go back to the model before; how long it took until it judged by that, in seconds."""

    def model() -> str:
        return str(plant.standing(name)["status"]["model"])

    former, began = model(), time.monotonic()
    plant.roll_back(name)
    plant.until("The rollback", lambda: True if model() != former else None)
    return time.monotonic() - began


def _gate(run: Run) -> dict[str, Any]:
    found = run.summary
    return {name: found[name] for name in ("auroc", "pixel_auroc", "accuracy", "recall", "gate_passed")}


def _auroc_of_old(home: Home, old: Run, data: Path) -> float:
    """How well the model for the brand before tells parts of the new one apart."""
    from cloudedge.deployable.session import Session

    stored = StoredRun(home.store, old.id)
    folder = home.folder / "scratch" / old.id
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    offered = steps_of(stored.task()).offer(stored, folder)
    return score(Session(offered.file, offered.deployable), labelled_images(data / "test", NEW), lambda done: None).auroc


def _tell(summary: dict[str, Any], say: Callable[[str], None]) -> None:
    auroc, swaps = summary["auroc"], summary["swaps"]
    say("")
    say(f"On {NEW}'s test set: AUROC {auroc['new']:.3f}, and {auroc['old']:.3f} by the model for {OLD}.")
    say(
        f"{swaps['done']} of {len(DETECTORS)} detectors swapped; {swaps['dropped']} parts passed without a judgement; "
        f"the longest pause between two was {swaps['longest_gap_ms']:.1f} ms."
    )
    for report in summary["reports"].values():
        say(f"Report    {report}")
