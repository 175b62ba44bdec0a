"""What goes over a channel: a document as JSON, and bytes behind it; and what became of a call that failed."""

import struct

import grpc

from cloudedge.documents.base import DocumentT, Part, parse
from cloudedge.errors import CloudedgeError, Conflict, InvalidDocument, InvalidInput, NotFound, StoreFailed
from cloudedge.texts import shortened

MAX_MESSAGE_BYTES = 32 * 1024 * 1024
"""Of one message with the bytes behind it."""

MAX_DOCUMENT_BYTES = 4 * 1024 * 1024
"""Of a message's document."""

CHUNK_BYTES = 256 * 1024
"""Of a stream of bytes."""

COMMON_OPTIONS: list[tuple[str, int]] = [
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES + 1024),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES + 1024),
    # A node that is gone without a word, as one whose cable is pulled, is noticed within this time.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
]

_LENGTH = struct.Struct(">I")
_LONGEST_SAID = 2000

_CODES: list[tuple[type[CloudedgeError], grpc.StatusCode]] = [
    (InvalidInput, grpc.StatusCode.INVALID_ARGUMENT),
    (NotFound, grpc.StatusCode.NOT_FOUND),
    (Conflict, grpc.StatusCode.FAILED_PRECONDITION),
    (StoreFailed, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (CloudedgeError, grpc.StatusCode.ABORTED),
]


def packed(document: Part, body: bytes = b"") -> bytes:
    """A message as it goes over the wire: the length of the document, the document, the bytes behind it."""
    head = document.model_dump_json().encode()
    return b"".join((_LENGTH.pack(len(head)), head, body))


def unpacked(kind: type[DocumentT], content: bytes, source: str) -> tuple[DocumentT, memoryview]:
    """The document of a message, and the bytes behind it.

    Args:
        kind: Class of the document.
        content: The message.
        source: Who sent it, for the error.

    Raises:
        InvalidDocument: it is not such a message.
    """
    if len(content) < _LENGTH.size:
        raise InvalidDocument(f"{source} is not a message:", [f"it has only {len(content)} bytes"])
    (length,) = _LENGTH.unpack_from(content)
    end = _LENGTH.size + length
    if length > MAX_DOCUMENT_BYTES or end > len(content):
        raise InvalidDocument(
            f"{source} is not a message:", [f"a document of {length:,} bytes is announced in {len(content):,}"]
        )
    return parse(kind, content[_LENGTH.size : end], source, MAX_DOCUMENT_BYTES), memoryview(content)[end:]


def code_of(error: CloudedgeError) -> tuple[grpc.StatusCode, str]:
    """An error as a call ends with it."""
    return next(code for kind, code in _CODES if isinstance(error, kind)), shortened(str(error), _LONGEST_SAID)


def error_of(error: grpc.RpcError, peer: str) -> CloudedgeError:
    """A call's end as an error: what the other side raised, or that it cannot be reached.

    Args:
        error: As gRPC raised it.
        peer: Who was called.
    """
    code, said = error.code(), error.details() or ""
    for kind, known in _CODES[:-1]:
        if code is known:
            return kind(said)
    if code is grpc.StatusCode.UNAUTHENTICATED:
        return InvalidInput(f"{peer} does not know this node (any more): {said}. Have it join anew.")
    if code is grpc.StatusCode.ABORTED:
        return CloudedgeError(said)
    return StoreFailed(f"{peer} cannot be reached: {said or code.name.lower()}. It is tried again.")
