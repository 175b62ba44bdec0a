"""A camera by V4L2, or a stream of the network, read by PyAV.

A thread decodes whatever comes and keeps the newest picture: what a part looks like is what the camera saw last when its tick
came, and a camera that nobody empties would show the past. A stream that ends or says nothing is opened anew, at intervals that
grow.
"""

import logging
import random
import re
import threading
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cloudedge.documents.detector import Camera
from cloudedge.errors import CloudedgeError, InvalidInput, StoreFailed
from edge.backoff import pause_seconds
from edge.detector.sources.base import ImageSource, Pixels, Shot

if TYPE_CHECKING:
    from av import VideoFrame

_log = logging.getLogger(__name__)


class _Picture(NamedTuple):
    frame: "VideoFrame"
    came: float  # By time.monotonic.


def require_av() -> Any:
    """PyAV, which only who has a camera needs.

    Raises:
        InvalidInput: it is not installed.
    """
    try:
        import av
    except ImportError:
        raise InvalidInput("A camera needs PyAV, which is not installed. Install cloudedge with its extra 'camera'.") from None
    return av


class CameraSource(ImageSource):
    """The newest picture of a camera."""

    def __init__(self, camera: Camera, base: Path) -> None:
        """Begin to read it; that it answers is not waited for.

        Args:
            camera: Which one.
            base: Folder that a relative path is below.

        Raises:
            InvalidInput: PyAV is not installed.
        """
        self._av = require_av()
        self._av.logging.set_level(None)  # It says all in its errors, too.
        self._camera = camera
        is_address = "://" in camera.address or camera.address.startswith("udp:")
        self._address = camera.address if is_address else str(base / camera.address)
        self._called = without_password(self._address)
        self._newest: _Picture | None = None
        self._trouble = f"The camera {self._called} has not shown a picture yet."
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._read, name="camera", daemon=True)
        self._thread.start()

    @property
    def trouble(self) -> str:
        """Why no picture comes."""
        return self._trouble

    def take(self) -> Shot:
        """What the camera saw last."""
        return Shot(partial(self._pixels, self._newest, time.monotonic()))

    def close(self) -> None:
        """End reading."""
        self._closing.set()
        self._thread.join(self._camera.wait_seconds + 1)

    def _pixels(self, picture: _Picture | None, ticked: float) -> Pixels:
        if picture is None:
            raise StoreFailed(self._trouble)
        age = ticked - picture.came
        if age > self._camera.fresh_seconds:
            raise StoreFailed(f"The camera's newest picture was {age:.1f} s old when the tick came. {self._trouble}".rstrip())
        return np.ascontiguousarray(picture.frame.to_ndarray(format="rgb24"), dtype=np.uint8)

    def _read(self) -> None:
        failures = 0
        while not self._closing.is_set():
            before = self._newest
            try:
                self._read_until_it_ends()
                why = "the stream has ended"
            except (self._av.error.FFmpegError, OSError, ValueError, CloudedgeError) as error:
                why = without_password(str(getattr(error, "strerror", None) or error))
            if self._closing.is_set():
                return
            failures = failures + 1 if self._newest is before else 0
            self._trouble = f"The camera {self._called} does not answer: {why}. Check it and its cable; it is tried again."
            _log.warning("%s", self._trouble)
            self._closing.wait(pause_seconds(failures, random.random()))

    def _read_until_it_ends(self) -> None:
        device = self._address.startswith("/dev/")
        wait = self._camera.wait_seconds
        with self._av.open(
            self._address, format="v4l2" if device else None, options=dict(self._camera.options), timeout=(wait, wait)
        ) as container:
            if not container.streams.video:
                raise InvalidInput("there are no pictures in it")
            stream = container.streams.video[0]
            stream.thread_type = "NONE"  # Frames that wait in other threads are late ones.
            for frame in container.decode(stream):
                self._newest = _Picture(frame, time.monotonic())
                self._trouble = ""
                if self._closing.is_set():
                    return


def without_password(text: str) -> str:
    """An address, or a text with one, as a message holds it: without the name and the password that stand in it."""
    return re.sub(r"(?<=://)[^\s/?#]*@", "", text)
