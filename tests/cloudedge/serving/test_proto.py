"""The messages are the protocol's own, and what protoc made of them is up to date."""

from typing import Any

import pytest
from google.protobuf import descriptor_pb2
from tritonclient.grpc import service_pb2 as theirs

from cloudedge.serving.proto import generating
from cloudedge.serving.proto import inference_pb2 as ours


def test_what_is_generated_is_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    assert generating.main(["--check"]) == 0, capsys.readouterr().err


def test_what_is_out_of_date_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(generating, "generated", lambda: {"inference_pb2.py": "other"})

    assert generating.main(["--check"]) == 1
    assert "inference_pb2.py is out of date. Run `make protocols`." in capsys.readouterr().err


def fields(message: descriptor_pb2.DescriptorProto) -> dict[str, Any]:
    """All that travels of a message: numbers and types, by name, and so of the messages in it."""
    found: dict[str, Any] = {
        field.name: (field.number, field.type, field.label, field.type_name, field.HasField("oneof_index"))
        for field in message.field
    }
    return found | {nested.name: fields(nested) for nested in message.nested_type}


def test_names_and_numbers_are_those_of_triton() -> None:
    own, known = descriptor_pb2.FileDescriptorProto(), descriptor_pb2.FileDescriptorProto()
    ours.DESCRIPTOR.CopyToProto(own)
    theirs.DESCRIPTOR.CopyToProto(known)
    messages = {message.name: fields(message) for message in known.message_type}

    assert own.package == known.package
    assert {message.name: fields(message) for message in own.message_type}.items() <= messages.items()
    (service,), (known_service,) = own.service, known.service
    methods = {method.name: (method.input_type, method.output_type) for method in known_service.method}
    assert {method.name: (method.input_type, method.output_type) for method in service.method}.items() <= methods.items()
