"""The service of a production line beside the runner: there where a line is, and started again whenever it has died."""

import logging
import os
import random
import subprocess
import time

from cloudedge.interpreter import environment, python
from edge.backoff import pause_seconds
from edge.folders import Folders

_log = logging.getLogger(__name__)

_LASTING_SECONDS = 60.0
"""A service that ran for so long is none that cannot start."""

_END_SECONDS = 5.0


class LineService:
    """Keeps the service's process."""

    def __init__(self, folders: Folders) -> None:
        """Prepare to; nothing is started yet.

        Args:
            folders: The runner's.
        """
        self._folders = folders
        self._process: subprocess.Popen[bytes] | None = None
        self._told: tuple[int, int, int] | None = None
        self._begun = 0.0
        self._failures = 0
        self._not_before = 0.0

    def tend(self) -> None:
        """Start it where there is a line and it does not run; end it where there is none any more, or it is told otherwise."""
        settings = self._settings()
        if self._process is not None and self._process.poll() is not None:
            _log.warning("the line's service ended with %s; it is started again", self._process.returncode)
            self._process = None
            self._pause()
        if settings != self._told:
            self.end()
            self._told, self._failures, self._not_before = settings, 0, 0.0
        if settings is None or self._process is not None or time.monotonic() < self._not_before:
            return
        self._begun = time.monotonic()
        command = python("edge.line", "--state", self._folders.state, "--parent", os.getpid())
        try:
            # gRPC would write a line for every stranger that knocks, until the disk is full.
            quiet = environment() | {"GRPC_VERBOSITY": "NONE"}
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, env=quiet)
        except OSError as error:
            _log.error("cannot start the line's service: %s", error.strerror)
            self._pause()

    def end(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def _pause(self) -> None:
        if time.monotonic() - self._begun > _LASTING_SECONDS:
            self._failures = 0
        self._not_before = time.monotonic() + pause_seconds(self._failures, random.random())
        self._failures += 1

    def _settings(self) -> tuple[int, int, int] | None:
        """What tells one version of the settings' file from another; none: there is no line."""
        try:
            found = self._folders.line_settings.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size
