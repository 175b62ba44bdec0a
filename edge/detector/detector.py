"""The detector: one thread inspects, everything else works around it."""

import logging
import os
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cloudedge.deployable.session import Judgement, judge
from cloudedge.documents.detector import Crop, DetectorConfiguration, Verdict
from cloudedge.documents.line import Deployment, Status, Teach
from cloudedge.errors import CloudedgeError, InvalidInput
from cloudedge.serving.models import Loaded, Models
from edge.detector import sources
from edge.detector.deployments import Deployments
from edge.detector.figures import Figures
from edge.detector.folders import DetectorFolders
from edge.detector.light import LightControl
from edge.detector.recorder import Inspected, Recorder
from edge.detector.results import FileSink, Sink
from edge.detector.sources.base import Pixels
from edge.detector.spool import Spool
from edge.detector.status import Standing, place
from edge.detector.ticks import Tick, Ticks
from edge.detector.watching import Pauses
from edge.detector.wishes import Wishes

_log = logging.getLogger(__name__)

_TOLD_SECONDS = 60.0
"""For so long after it happened, what was missed is a trouble to look after."""


@dataclass(frozen=True)
class _Answer:
    """What came of an image: a judgement, or why there is none."""

    loaded: Loaded | None
    image: Pixels | None
    judgement: Judgement | None
    error: str

    @property
    def accepted(self) -> bool | None:
        return None if self.judgement is None else not self.judgement.reject

    @property
    def failed(self) -> bool:
        """Whether the model failed, and not the camera."""
        return bool(self.error) and self.image is not None


class Detector:
    """A detector at work. What others call may be called from any thread.

    Attributes:
        name: Its name in its line; empty: it has joined none.
        models: Its models, by brand.
        spool: What was inspected and is kept.
        over: Set once its source has given its last image and that is judged.
    """

    def __init__(self, name: str, configuration: DetectorConfiguration, state: Path, base: Path) -> None:
        """Open all that it needs, and take up what was left; `start` begins.

        Args:
            name: Its name in its line; empty: it has joined none.
            configuration: What it is set up with.
            state: Directory that is its own.
            base: Folder that relative paths of the configuration are below.

        Raises:
            InvalidInput: something cannot be used as it is configured.
            StoreFailed: the disk refuses.
            Conflict: another process has its models, or another version wrote the state.
        """
        self.name = name
        self.over = threading.Event()
        self._configuration = configuration
        self._folders = folders = DetectorFolders(state)
        self.models = Models(folders.models, configuration.threads)
        history = configuration.history
        self.spool = Spool(folders.spool, history.most_bytes, history.most_hours)
        self._wishes = Wishes(folders.wishes, configuration.brand)
        self._figures = Figures()
        self._pauses = Pauses()
        self._deployments = Deployments(self.models, folders.deployments, self._pauses, aside=configuration.threads == 1)
        self._recorder = Recorder(self.spool)
        self._light = LightControl(configuration.light, base)
        self._sinks = _sinks(configuration, base)
        self._source = sources.opened(configuration.source, base)
        self._ticks = Ticks(configuration.encoder, self._source, configuration.queue, base)
        self._ordinary = 0
        self._lost = self._told = 0
        self._untold = ""
        self._told_missed = (0, -_TOLD_SECONDS)
        self._thread = threading.Thread(target=self._inspect_all, name="inspection", daemon=True)

    def start(self) -> None:
        """Begin to inspect."""
        self._light.set_for(self._wishes.brand)
        self._thread.start()
        self._recorder.start()
        self._deployments.start()
        self._ticks.start()

    def close(self) -> None:
        """End: what waits is inspected, sent and written first."""
        self._ticks.close()
        if self._thread.ident is not None:
            self._thread.join()
        self._source.close()
        for sink in self._sinks:
            sink.close()
        self._deployments.close()
        self._recorder.close()
        self.keep_house()
        self.models.close()
        self.spool.close()

    def use_brand(self, brand: str) -> None:
        """Judge by the model of this brand from the next image on; empty: nothing runs on the line."""
        self._wishes.use_brand(brand)
        self._light.set_for(brand)

    def teach(self, asked: Teach) -> None:
        """Have the next images of a brand be examples; the same wish twice is one."""
        self._wishes.teach(asked)

    def deploy(self, asked: Deployment, file: Path) -> None:
        """Deploy a model, beside the inspection; `status` says how it stands. An id that is known already is passed over.

        Args:
            asked: What, and within what bounds.
            file: The model's file, complete and verified; it is copied.
        """
        self._deployments.deploy(asked, file)

    def rollback(self, brand: str) -> None:
        """Judge a brand by the model before.

        Raises:
            NotFound: there is none before.
            StoreFailed: it judges now, but a restart would bring the other one back.
        """
        self._deployments.rollback(brand)

    def status(self) -> Status:
        """How it stands."""
        return self.standing().status

    def standing(self, trouble: str = "") -> Standing:
        """How it stands, in full.

        Args:
            trouble: What else a person should look after; empty: nothing.
        """
        brand = self._wishes.brand
        loaded = self.models.current(brand) if brand else None
        figures = self._figures
        teach, taught = self._wishes.taught
        troubles = tuple(dict.fromkeys(filter(None, [*self._troubles(), trouble])))
        said = Status(
            at=datetime.now(UTC),
            brand=brand,
            model=loaded.deployable.sha256 if loaded else "",
            former=tuple(name for name in self.models.names() if self.models.former(name) is not None),
            images=figures.images,
            rejects=figures.rejects,
            errors=figures.errors,
            unjudged=figures.unjudged,
            lost=self._lost + sum(sink.lost for sink in self._sinks),
            missed=self._ticks.missed,
            teach=teach,
            taught=max(0, taught - self._recorder.labelled),
            per_second=figures.per_second,
            p99_ms=figures.milliseconds(0.99),
            deployments=self._deployments.states(),
            backlog=self.spool.backlog(),
            disk_bytes=self.spool.bytes,
            trouble=" ".join(troubles)[:2000],
        )
        return Standing(
            detector=self.name,
            process=os.getpid(),
            status=said,
            p50_ms=figures.milliseconds(0.5),
            idle=self._ticks.idle,
            waiting=self._ticks.waiting,
            let_go=self._recorder.let_go,
            troubles=troubles,
        )

    def keep_house(self, trouble: str = "") -> None:
        """What is to be done every second: say how it stands, write down what has changed, try again what failed.

        Args:
            trouble: What else a person should look after, beside the detector's own; empty: nothing.
        """
        self._wishes.keep()
        self._light.set_for(self._wishes.brand)
        missed = self._ticks.missed
        if missed != self._told_missed[0]:
            self._told_missed = (missed, time.monotonic())
        try:
            place(self._folders.status, self.standing(trouble))
        except OSError as error:
            self._untold = (
                f"'cloudedge-detector status' shows what was before: cannot write {self._folders.status}: {error.strerror}."
            )
            _log.warning("%s", self._untold)
        else:
            self._untold = ""

    def _troubles(self) -> list[str]:
        missed, when = self._told_missed
        too_slow = (
            f"{missed} ticks came while {self._configuration.queue} waited already, and no image was taken for them. The model "
            "is too slow for this line, or something else takes the processor."
        )
        brand = self._wishes.brand
        nothing_judges = f"There is no model of {brand}: its parts are recorded and not judged. Deploy one."
        return [
            self._untold,
            self._source.trouble,
            self._ticks.trouble,
            too_slow if missed and time.monotonic() - when < _TOLD_SECONDS else "",
            *(sink.trouble for sink in self._sinks),
            self._recorder.trouble,
            self._light.trouble,
            self._deployments.trouble,
            self._wishes.trouble,
            *(f"Model of {each.name}: {each.reason}" for each in self.models.list() if each.reason),
            nothing_judges if brand and self.models.current(brand) is None else "",
        ]

    def _inspect_all(self) -> None:
        try:
            while (tick := self._ticks.next()) is not None:
                try:
                    self._inspect(tick)
                except Exception:  # The next part is on its way.
                    _log.exception("tick %d", tick.number)
                    self._figures.count(time.monotonic() - tick.due, error=True)
                    if self._told != tick.number:
                        self._lost += len(self._sinks)
        finally:
            self.over.set()

    def _inspect(self, tick: Tick) -> None:
        brand = self._wishes.brand
        answer = self._answer(tick, self.models.current(brand) if brand else None)
        ms = 1000 * (time.monotonic() - tick.due)
        verdict = self._verdict(tick, brand, answer, ms)
        line = verdict.model_dump_json().encode()
        self._told = tick.number
        for sink in self._sinks:
            sink.take(line)
        reject = answer.accepted is False
        now = time.monotonic()
        self._pauses.answered(tick.due, now)
        unjudged = answer.loaded is None and not answer.error
        self._figures.count(now - tick.due, reject=reject, error=bool(answer.error), unjudged=unjudged)
        if answer.loaded is not None and (answer.judgement is not None or answer.failed):
            self._deployments.judged(brand, answer.loaded.deployable.sha256, reject=reject, error=answer.failed)
        if answer.image is not None:
            self._record(tick, verdict, answer, answer.image)

    def _answer(self, tick: Tick, loaded: Loaded | None) -> _Answer:
        """Judge an image by the one model that is in use as this begins."""
        image = None
        try:
            image = cropped(tick.shot.pixels(), self._configuration.crop)
            return _Answer(loaded, image, None if loaded is None else judge(loaded.session, image), "")
        except Exception as error:  # A model's file and a camera are others' and fail in any way.
            if not isinstance(error, CloudedgeError):
                _log.exception("tick %d", tick.number)
            return _Answer(loaded, image, None, str(error) or repr(error))

    def _verdict(self, tick: Tick, brand: str, answer: _Answer, ms: float) -> Verdict:
        judgement, deployable = answer.judgement, answer.loaded.deployable if answer.loaded else None
        return Verdict(
            detector=self.name,
            tick=tick.number,
            taken_at=tick.taken_at,
            judged_at=datetime.now(UTC),
            ms=round(ms, 3),
            brand=brand,
            model=deployable.sha256 if deployable else "",
            score=judgement.score if judgement else None,
            threshold=deployable.threshold if deployable else None,
            accepted=answer.accepted,
            defect=judgement.defect if judgement else "",
            error=answer.error[:2000],
            image=tick.shot.name,
            truth=tick.shot.truth,
        )

    def _record(self, tick: Tick, verdict: Verdict, answer: _Answer, image: Pixels) -> None:
        label = self._wishes.label_of_next(verdict.brand)
        inspected = Inspected(
            image=image,
            taken_at=tick.taken_at,
            tick=tick.number,
            brand=verdict.brand,
            label=label,
            model=verdict.model,
            score=verdict.score,
            threshold=verdict.threshold,
            accepted=verdict.accepted,
            defect=verdict.defect,
            ms=verdict.ms,
            map=answer.judgement.map if answer.judgement and answer.judgement.reject else None,
            failed=answer.failed,
        )
        if inspected.ordinary:
            self._ordinary += 1
            kept = self._configuration.history
            if kept.images == "rejects" or (kept.images == "nth" and self._ordinary % kept.nth):
                return
        self._recorder.take(inspected)


def cropped(image: Pixels, crop: Crop | None) -> Pixels:
    """The piece of a picture that shows the part.

    Args:
        image: Shape (height, width, 3).
        crop: Which piece; none: all of it.

    Raises:
        InvalidInput: the picture ends before it.
    """
    if crop is None:
        return image
    height, width = image.shape[:2]
    bottom, right = crop.top + crop.height, crop.left + crop.width
    if bottom > height or right > width:
        raise InvalidInput(
            f"The crop ends at {right} x {bottom} pixels, and the picture has {width} x {height}. Correct "
            "'crop', or the camera."
        )
    return image[crop.top : bottom, crop.left : right]


def _sinks(configuration: DetectorConfiguration, base: Path) -> list[Sink]:
    found: list[Sink] = []
    if configuration.results.file is not None:
        found.append(FileSink(configuration.results.file, base))
    if configuration.results.mqtt is not None:
        from edge.detector.mqtt import MqttSink  # Its library is loaded where there is a broker.

        found.append(MqttSink(configuration.results.mqtt, base))
    return found
