"""Judgements by MQTT."""

import logging
import threading
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.reasoncodes import ReasonCode

from cloudedge.documents.detector import Mqtt
from cloudedge.errors import InvalidInput
from cloudedge.places import shown_path

_log = logging.getLogger(__name__)

_MOST_PAUSE_SECONDS = 30
_KEEPALIVE_SECONDS = 30
_END_SECONDS = 2.0
"""What waits at the end gets so long to be sent."""


class MqttSink:
    """A broker, at which each verdict arrives at least once. What waits while it is away is bounded."""

    def __init__(self, settings: Mqtt, base: Path) -> None:
        """Begin to connect; that the broker answers is not waited for.

        Args:
            settings: The broker and the topic.
            base: Folder that relative paths are below.

        Raises:
            InvalidInput: the password or the authorities cannot be read.
        """
        self._settings = settings
        self.lost = 0
        self._broker = f"{settings.host}:{settings.port}"
        self.trouble = f"The broker {self._broker} has not answered yet."
        self._topic = settings.topic
        self._queued = self._arrived = 0  # The first is the inspection's to count, the second the client's.
        self._arrival = threading.Condition()
        self._connected = False
        self._client = client = prepared_client(settings, base)
        client.on_connect = self._on_connect
        client.on_connect_fail = self._on_connect_fail
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.connect_async(settings.host, settings.port, keepalive=_KEEPALIVE_SECONDS)
        client.loop_start()

    def take(self, line: bytes) -> None:
        """Queue a verdict."""
        if self._client.publish(self._topic, line, qos=1).rc == MQTTErrorCode.MQTT_ERR_QUEUE_SIZE:
            self.lost += 1
        else:
            self._queued += 1

    def close(self) -> None:
        """Send what still waits, for a moment, and leave the broker."""
        with self._arrival:
            self._arrival.wait_for(lambda: self._arrived >= self._queued or not self._connected, _END_SECONDS)
        self._client.disconnect()
        self._client.loop_stop()

    def _on_connect(self, _client: Any, _data: Any, _flags: Any, code: ReasonCode, _properties: Any) -> None:
        self._connected = not code.is_failure
        if self._connected:
            self.trouble = ""
            _log.info("judgements go to the broker %s, topic %s", self._broker, self._topic)
        else:
            self._say(f"The broker {self._broker} refuses the detector: {code}. Correct its user and password.")

    def _on_connect_fail(self, _client: Any, _data: Any) -> None:
        self._say(f"The broker {self._broker} does not answer. Check that it runs and the way to it; it is tried again.")

    def _on_disconnect(self, _client: Any, _data: Any, _flags: Any, code: ReasonCode, _properties: Any) -> None:
        with self._arrival:
            was_connected, self._connected = self._connected, False
            self._arrival.notify_all()
        if code.is_failure and was_connected:  # Otherwise it was said why there is no connection.
            self._say(f"The broker {self._broker} has gone: {code}. It is tried again.")

    def _on_publish(self, _client: Any, _data: Any, _number: int, _code: ReasonCode, _properties: Any) -> None:
        with self._arrival:
            self._arrived += 1
            self._arrival.notify_all()

    def _say(self, trouble: str) -> None:
        if trouble != self.trouble:
            _log.warning("%s", trouble)
        self.trouble = trouble


def prepared_client(settings: Mqtt, base: Path) -> paho.Client:
    """A client with all that a broker asks for, which has not connected yet.

    Args:
        settings: The broker.
        base: Folder that relative paths are below.

    Raises:
        InvalidInput: the password or the authorities cannot be read.
    """
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id="", clean_session=True)
    client.max_queued_messages_set(settings.queue)
    client.reconnect_delay_set(1, _MOST_PAUSE_SECONDS)
    if settings.user:
        client.username_pw_set(settings.user, _password(base / settings.password_file) if settings.password_file else None)
    if settings.tls:
        try:
            client.tls_set(str(base / settings.authorities) if settings.authorities else None)
        except OSError as error:
            raise InvalidInput(
                f"Cannot use {shown_path(settings.authorities)}: {error.strerror or error}. "
                "Give a PEM file of the broker's authority with results.mqtt.authorities."
            ) from None
    return client


def _password(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").partition("\n")[0].rstrip("\r")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(
            f"Cannot read {shown_path(path)}: {getattr(error, 'strerror', None) or error}. "
            "Give a file with the broker's password in its first line as results.mqtt.password_file."
        ) from None
