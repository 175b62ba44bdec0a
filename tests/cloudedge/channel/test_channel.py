"""Nodes on loopback, with real TLS."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pydantic import Field

from cloudedge.channel.client import Client
from cloudedge.channel.identity import Identity, check_certificate, fingerprint, identity, made
from cloudedge.channel.joining import MOST_FAILURES, Failures, Joined, JoinServer, Token, digest_of, join
from cloudedge.channel.server import MOST_CALLS, Call, Chunks, Following, Method, Server, Unary
from cloudedge.documents.base import Part
from cloudedge.errors import Conflict, InvalidDocument, InvalidInput, NotFound, StoreFailed
from tests.waiting import PATIENCE, until


class Word(Part):
    """Something said."""

    text: str = Field(max_length=1000)


@dataclass
class Known:
    """Members by their certificates."""

    members: dict[str, Identity] = field(default_factory=dict)

    def certificates(self) -> list[str]:
        return [member.certificate for member in self.members.values()]

    def name_of(self, fingerprint: str) -> str | None:
        return next((name for name, member in self.members.items() if member.fingerprint == fingerprint), None)


class House:
    """A server and who may call it."""

    def __init__(self) -> None:
        self.own = made("house")
        self.known = Known()
        self.sent: list[int] = []
        self.over = threading.Semaphore(0)
        self.hold = threading.Event()
        methods: dict[str, Method] = {
            "greet": Unary(
                Word, lambda call, word, body: Word(text=f"{call.member}: {word.text} {bytes(body).decode()}".strip())
            ),
            "fail": Unary(Word, self._fail),
            "listen": Following(Word, self._listen),
            "file": Chunks(Word, self._file),
        }
        self.server = Server("127.0.0.1:0", self.own, self.known, "test", methods)
        self.address = f"127.0.0.1:{self.server.port}"
        self.clients: list[Client] = []

    def client(self, who: Identity, certificate: str = "") -> Client:
        self.clients.append(Client(self.address, certificate or self.own.certificate, who))
        return self.clients[-1]

    def member(self, name: str) -> Client:
        self.known.members[name] = made(name)
        return self.client(self.known.members[name])

    def close(self) -> None:
        self.hold.set()
        for client in self.clients:
            client.close()
        self.server.close()

    def _fail(self, call: Call, word: Word, body: memoryview) -> Word:
        raise NotFound(f"There is no {word.text}.")

    def _listen(self, call: Call, word: Word) -> Iterator[Word]:
        ended = threading.Event()
        call.when_over(ended.set)
        call.when_over(self.over.release)
        yield word
        ended.wait()

    def _file(self, call: Call, word: Word) -> Iterator[bytes]:
        for number in range(1000):
            self.sent.append(number)
            yield bytes(256 * 1024)


@pytest.fixture
def house() -> Iterator[House]:
    house = House()
    yield house
    house.close()


def test_a_member_is_known_by_its_certificate_and_not_by_what_it_says(house: House) -> None:
    first, second = house.member("first"), house.member("second")
    assert first.ask("/test/greet", Word(text="I am second"), Word).text == "first: I am second"
    assert second.ask("/test/greet", Word(text="hello"), Word, b"and bytes").text == "second: hello and bytes"


def test_a_stranger_gets_nothing(house: House) -> None:
    house.member("first")
    with pytest.raises(StoreFailed, match="cannot be reached"):
        house.client(made("first")).ask("/test/greet", Word(text="hello"), Word, seconds=5)
    nobody = Client(house.address, house.own.certificate)
    with pytest.raises(StoreFailed, match="cannot be reached"):
        nobody.ask("/test/greet", Word(text="hello"), Word, seconds=5)
    nobody.close()


def test_whoever_has_the_servers_own_certificate_is_no_member(house: House) -> None:
    with pytest.raises(InvalidInput, match="no member's"):
        house.client(house.own).ask("/test/greet", Word(text="hello"), Word)


def test_an_expired_certificate_is_refused(house: House) -> None:
    house.known.members["old"] = made("old", days=-1)
    with pytest.raises(StoreFailed, match="cannot be reached"):
        house.client(house.known.members["old"]).ask("/test/greet", Word(text="hello"), Word, seconds=5)
    with pytest.raises(InvalidInput, match="ended on"):
        check_certificate(house.known.members["old"].certificate)


def test_only_the_one_server_that_was_told_of_is_believed(house: House) -> None:
    house.known.members["first"] = made("first")
    mistaken = house.client(house.known.members["first"], made("house").certificate)
    with pytest.raises(StoreFailed, match="cannot be reached"):
        mistaken.ask("/test/greet", Word(text="hello"), Word, seconds=5)


def test_a_member_that_is_taken_off_the_list_loses_its_calls_and_gets_no_other(house: House) -> None:
    client = house.member("first")
    listening = client.follow("/test/listen", Word(text="news"), Word)
    assert next(listening).text == "news"
    del house.known.members["first"]
    house.server.end_calls("first")
    with pytest.raises(StoreFailed):
        next(listening)
    with pytest.raises(InvalidInput, match="no member's"):
        client.ask("/test/greet", Word(text="hello"), Word)


def test_a_call_ends_at_the_server_when_its_member_ends_it(house: House) -> None:
    listening = house.member("first").follow("/test/listen", Word(text="news"), Word)
    next(listening)
    listening.end()
    assert house.over.acquire(timeout=PATIENCE)


def test_no_member_takes_the_place_of_all(house: House) -> None:
    client = house.member("first")
    calls = [client.follow("/test/listen", Word(text="news"), Word) for _ in range(MOST_CALLS)]
    assert [next(call).text for call in calls] == ["news"] * MOST_CALLS
    with pytest.raises(StoreFailed, match="enough"):
        client.ask("/test/greet", Word(text="hello"), Word)
    assert house.member("second").ask("/test/greet", Word(text="hello"), Word).text == "second: hello"


def test_an_error_comes_over_as_what_it_was(house: House) -> None:
    client = house.member("first")
    with pytest.raises(NotFound, match="There is no treasure"):
        client.ask("/test/fail", Word(text="treasure"), Word)
    with pytest.raises(InvalidInput, match="at most 1000 characters"):
        client.ask("/test/greet", Word.model_construct(text="a" * 1001), Word)


def test_a_stream_goes_only_as_fast_as_it_is_taken(house: House) -> None:
    stream = house.member("first").chunks("/test/file", Word(text="big"))
    next(stream)
    seen = 0

    def stands() -> bool:
        nonlocal seen
        former, seen = seen, len(house.sent)
        return seen == former and seen > 0

    until(stands)
    assert len(house.sent) < 900
    stream.close()


def test_an_identity_is_made_once_and_only_its_user_may_read_it(tmp_path: Path) -> None:
    first = identity(tmp_path / "own", "node-1")
    assert identity(tmp_path / "own", "another") == first
    (file,) = (tmp_path / "own").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    file.write_bytes(first.key)
    with pytest.raises(InvalidInput, match="join anew"):
        identity(tmp_path / "own", "node-1")


class Hall:
    """A server to join at, with some tokens that are good for once."""

    def __init__(self) -> None:
        self.own = made("house")
        self.tokens: dict[str, str] = {}
        self.joined: dict[str, str] = {}
        self.server = JoinServer("127.0.0.1:0", self.own, self.admit)

    def token(self, name: str) -> Token:
        token = Token.new(f"127.0.0.1:{self.server.port}", name, self.own.certificate)
        self.tokens[digest_of(token.secret)] = name
        return token

    def admit(self, name: str, digest: str, certificate: str) -> Joined:
        if self.tokens.get(digest) != name:
            raise Conflict("The token is not good any more. Have another one printed.")
        del self.tokens[digest]
        self.joined[name] = certificate
        return Joined(port=7443)


@pytest.fixture
def hall() -> Iterator[Hall]:
    hall = Hall()
    yield hall
    hall.server.close()


def test_a_node_joins_with_a_token_and_both_know_each_other(hall: Hall) -> None:
    own = made("node-1")
    address, certificate = join(Token.read(str(hall.token("node-1"))), own)
    assert (address, certificate) == ("127.0.0.1:7443", hall.own.certificate)
    assert fingerprint(hall.joined["node-1"]) == own.fingerprint


def test_a_token_is_good_for_once(hall: Hall) -> None:
    token = hall.token("node-1")
    join(token, made("node-1"))
    with pytest.raises(InvalidInput, match="not good any more"):
        join(token, made("node-1"))


def test_a_server_with_another_certificate_is_told_nothing(hall: Hall) -> None:
    token = Token.new(f"127.0.0.1:{hall.server.port}", "node-1", made("house").certificate)
    hall.tokens[digest_of(token.secret)] = "node-1"
    with pytest.raises(InvalidInput, match="Somebody else answers"):
        join(token, made("node-1"))
    assert hall.tokens


def test_a_certificate_that_could_vouch_for_others_is_refused(hall: Hall) -> None:
    import ssl

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization

    own = made("node-1")
    key = serialization.load_pem_private_key(own.key, None)
    found = x509.load_der_x509_certificate(ssl.PEM_cert_to_DER_cert(own.certificate.strip()))
    builder = x509.CertificateBuilder(found.issuer, found.subject, found.public_key(), found.serial_number)
    builder = builder.not_valid_before(found.not_valid_before_utc).not_valid_after(found.not_valid_after_utc)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("node-1")]), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    certificate = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="vouch"):
        join(hall.token("node-1"), Identity(own.key, certificate))


def test_what_is_no_token_is_refused_and_not_repeated() -> None:
    for text in ("", "secret", "host/node-1/abc/secret-secret-secret", f"host:1/NODE/{'a' * 32}/{'s' * 32}"):
        with pytest.raises(InvalidInput, match="no token") as error:
            Token.read(text)
        assert text not in str(error.value) or not text


def test_guessing_ends_after_some_failures(hall: Hall) -> None:
    good, bad = hall.token("node-1"), Token.new(f"127.0.0.1:{hall.server.port}", "node-1", hall.own.certificate)
    for _ in range(MOST_FAILURES):
        with pytest.raises(InvalidInput, match="not good any more"):
            join(bad, made("node-1"))
    with pytest.raises(StoreFailed, match="Wait a minute"):
        join(good, made("node-1"))


def test_failures_are_counted_by_address_and_forgotten_after_a_minute() -> None:
    time = 0.0
    failures = Failures(lambda: time)
    for _ in range(MOST_FAILURES):
        failures.check("10.0.0.1")
        failures.count("10.0.0.1")
    with pytest.raises(StoreFailed, match="attempts"):
        failures.check("10.0.0.1")
    failures.check("10.0.0.2")
    time = 61.0
    failures.check("10.0.0.1")


def test_what_is_no_message_is_refused(house: House) -> None:
    from cloudedge.channel.messages import unpacked

    for content in (b"", b"\x00\x00", b"\x00\x00\x00\xff{}", b"\xff\xff\xff\xff" + b"{}"):
        with pytest.raises(InvalidDocument, match="not a message"):
            unpacked(Word, content, "it")
