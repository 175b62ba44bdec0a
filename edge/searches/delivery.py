"""What a search came to, as it is handed over."""

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from cloudedge import __version__
from cloudedge.automl.screen import broken, candidate_in_words, in_words, milliseconds
from cloudedge.deployable.checking import described
from cloudedge.documents.automl import Calibration, SearchRecord, Trial
from cloudedge.documents.deployable import Deployable, Lineage, image_form
from cloudedge.documents.kinds.search import Search, Searched
from cloudedge.files import atomic_write, disk_errors
from edge.messages import Job
from edge.results import deliver, place_for
from edge.searches.trace import Calibrating
from edge.searches.training import Data, file_of


@dataclass(frozen=True)
class Delivery:
    """Hands over what a search came to."""

    job: Job
    asked: Search
    samples: Data
    calibration: Calibration
    calibrated: Calibrating | None
    started: float

    def deliver(self, record: SearchRecord) -> None:
        """Write the files, and the manifest last."""
        row = record.row
        known: dict[str, Any] = {
            "limits": record.limits,
            "screened_out": sum(bool(each.broken) for each in record.predictions),
            "samples": len(self.samples.training),
            "data_fingerprint": self.samples.fingerprint,
            "processor": self.calibration.processor,
            "calibration_seconds": self.calibrated.seconds if self.calibrated else 0.0,
            "calibration_why": self.calibrated.why if self.calibrated else "",
        }
        files = {"search": place_for(self.job, "search.json")}
        atomic_write(files["search"], record.to_json())
        if row is None:
            words = in_words(record.nothing) if record.nothing else ""
            when = "by this search" if self.calibrated else "and holds: some of it was measured again as the search began"
            words += f"\nThat is told from what was measured on {self.calibration.at:%Y-%m-%d %H:%M} UTC, {when}."
            result = Searched(by="nobody", nothing=record.nothing, words=words, **known)
        else:
            trained = [trial for trial in row.trials if trial.accuracy is not None]
            known |= {
                "by": row.by,
                "why": row.why,
                "trained": len(trained),
                "refused": sum(_is_refused(trial, record) for trial in row.trials),
            }
            best = None if row.best is None else row.trials[row.best]
            if best is None:
                result = Searched(words=_without_model(row.trials, record), **known)
            else:
                deployable = self._files_of(best, files)
                result = Searched(
                    sha256=deployable.sha256,
                    candidate=best.candidate,
                    loss=best.loss,
                    accuracy=best.accuracy,
                    costs=best.measured,
                    words=_found(best),
                    **known,
                )
        deliver(self.job, result, time.monotonic() - self.started, files)

    def _files_of(self, best: Trial, files: dict[str, Path]) -> Deployable:
        """Put the best model and its manifest where they are sent from."""
        order, data = self.job.order, self.asked.data
        source = file_of(self.job, best)
        model, manifest = place_for(self.job, "model.onnx"), place_for(self.job, "deployable.json")
        with disk_errors(model):
            shutil.copyfile(source, model)
            content = model.read_bytes()
        inputs, outputs = described(model)
        deployable = Deployable(
            name=self.asked.name,
            sha256=sha256(content).hexdigest(),
            size=len(content),
            inputs=inputs,
            outputs=outputs,
            image=image_form(data),
            classes=data.classes,
            lineage=Lineage(
                run=order.run,
                edge=order.edge,
                data_fingerprint=self.samples.fingerprint,
                samples=len(self.samples.training),
                software=__version__,
            ),
        )
        atomic_write(manifest, deployable.to_json())
        files |= {"model": model, "deployable": manifest}
        return deployable


def _is_refused(trial: Trial, record: SearchRecord) -> bool:
    return trial.measured is not None and bool(broken(trial.measured, record.limits))


def _found(best: Trial) -> str:
    costs = best.measured
    what = f"{candidate_in_words(best.candidate)}: {best.accuracy:.1%} of the held-out samples are right"
    if costs is None:
        return f"{what}."
    return (
        f"{what}; an inference takes {milliseconds(costs.latency_ms)}, at most {milliseconds(costs.latency_bound_ms)} beside a "
        f"busy neighbour, and {costs.memory_bytes:,} bytes."
    )


def _without_model(trials: Sequence[Trial], record: SearchRecord) -> str:
    """Why a search that had candidates has no model."""
    lines = ["No model is returned."]
    for trial in trials:
        name = candidate_in_words(trial.candidate)
        if trial.fault:
            lines.append(f"{name}: {trial.fault}")
        elif trial.measured is not None and (beyond := broken(trial.measured, record.limits)):
            when = "before it was trained" if trial.accuracy is None else "once it was trained"
            lines.append(f"{name}: measured above its limit of {' and '.join(beyond)} {when}.")
    lines.append("Search again when the device has less to do, or allow more.")
    return "\n".join(lines)[:10_000]
