"""Judgements by MQTT, at a real broker."""

import json
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from cloudedge.documents.detector import Mqtt
from cloudedge.errors import InvalidInput
from edge.detector.mqtt import MqttSink, prepared_client
from tests.certificates import Authority
from tests.cluster.processes import free_port
from tests.edge.detector.broker import broker
from tests.edge.detector.station import WITHOUT_A_MODEL, Station
from tests.edge.line.site import Cable
from tests.waiting import PATIENCE, until

TOPIC = "line/north/verdicts"


@contextmanager
def heard(port: int, user: tuple[str, str] | None = None, authority: Path | None = None) -> Iterator[list[dict[str, Any]]]:
    """What a PLC's program hears from now on."""
    messages: list[dict[str, Any]] = []
    subscribed = threading.Event()
    client = paho.Client(CallbackAPIVersion.VERSION2)

    def subscribe(*_: object) -> None:
        client.subscribe(TOPIC, qos=1)

    if user:
        client.username_pw_set(*user)
    if authority:
        client.tls_set(str(authority))
    client.on_connect = subscribe
    client.on_subscribe = lambda *_: subscribed.set()
    client.on_message = lambda _client, _data, message: messages.append(json.loads(message.payload))
    client.connect("127.0.0.1", port)
    client.loop_start()
    try:
        assert subscribed.wait(PATIENCE)
        yield messages
    finally:
        client.disconnect()
        client.loop_stop()


def station(root: Path, port: int, **more: object) -> Station:
    return Station(
        root,
        {
            "results": {"file": {"path": "results.jsonl"}, "mqtt": {"host": "127.0.0.1", "port": port, "topic": TOPIC, **more}},
        },
    )


def test_each_verdict_arrives_once_the_same_as_in_the_file(tmp_path: Path) -> None:
    port = free_port()
    with broker(port), heard(port) as messages:
        here = station(tmp_path, port)
        here.settings["source"] |= {"most": 50, "defects": 0.5}
        with here.at_work() as detector:
            assert detector.over.wait(PATIENCE)
            until(lambda: len(messages) >= 50)
    assert messages == here.verdicts()


def test_while_the_broker_is_away_the_inspection_goes_on_and_so_many_wait(tmp_path: Path) -> None:
    """It comes back as the way to it does, so that whoever listens to it is there before the detector is."""
    port, behind = free_port(), free_port()
    here = station(tmp_path, port, queue=20)
    here.settings["encoder"] = {"kind": "timer", "per_second": 500}
    here.settings["source"]["most"] = 100
    detector = here.detector()
    try:
        detector.start()
        assert detector.over.wait(PATIENCE)
        assert len(here.verdicts()) == 100
        assert detector.status().lost == 80
        until(lambda: "does not answer" in detector.status().trouble)
        with broker(behind), heard(behind) as messages, closing(Cable(f"127.0.0.1:{behind}", port=port)):
            until(lambda: {each["tick"] for each in messages} == set(range(1, 21)))
            until(lambda: detector.status().trouble == WITHOUT_A_MODEL)
    finally:
        detector.close()


def test_a_broker_that_comes_back_is_found_again(tmp_path: Path) -> None:
    port = free_port()
    here = station(tmp_path, port)
    with here.at_work() as detector:
        for _ in range(2):
            with broker(port), heard(port) as messages:
                until(lambda: messages)
            until(lambda: f"The broker 127.0.0.1:{port}" in detector.status().trouble)


def test_by_tls_with_a_user_and_a_wrong_password_is_said(tmp_path: Path) -> None:
    from pwdlib import PasswordHash
    from pwdlib.hashers.argon2 import Argon2Hasher

    port = free_port()
    authority = Authority(tmp_path)
    authority.server("127.0.0.1")
    passwords = tmp_path / "passwords"
    passwords.write_text(f"north:{PasswordHash((Argon2Hasher(),)).hash('right')}\n")
    secret = tmp_path / "secret"
    secret.write_text("wrong\n")
    more = {"tls": True, "authorities": "authority.pem", "user": "north", "password_file": "secret"}
    here = station(tmp_path, port, **more)
    with broker(port, passwords, tmp_path / "server.pem"):
        with here.at_work() as detector:
            until(lambda: "refuses the detector" in detector.status().trouble)
            assert "wrong" not in detector.status().trouble
        secret.write_text("right\n")
        with heard(port, ("north", "right"), authority.file) as messages, here.at_work() as detector:
            until(lambda: messages)
            assert detector.status().trouble == WITHOUT_A_MODEL


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"user": "me", "password_file": "none"}, "results.mqtt.password_file"),
        ({"tls": True, "authorities": "none"}, "results.mqtt.authorities"),
        ({"tls": True, "authorities": "bad.pem"}, "results.mqtt.authorities"),
    ],
)
def test_what_cannot_be_read_is_said_at_the_start(tmp_path: Path, more: dict[str, Any], said: str) -> None:
    (tmp_path / "bad.pem").write_text("no certificate")
    with pytest.raises(InvalidInput, match=said):
        prepared_client(Mqtt(host="127.0.0.1", topic="a", **more), tmp_path)


def test_ending_waits_for_what_is_on_its_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.detector.mqtt._END_SECONDS", PATIENCE)
    port = free_port()
    with broker(port), heard(port) as messages:
        sink = MqttSink(Mqtt(host="127.0.0.1", port=port, topic=TOPIC), tmp_path)
        until(lambda: sink.trouble == "")
        for number in range(500):
            sink.take(b"%d" % number)
        sink.close()
        until(lambda: len(messages) == 500)
