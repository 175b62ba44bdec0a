"""What an API server answers, or whoever answers in its place: told at once if it stays so, else asked again."""

import contextlib
import datetime
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client

from cloud.cluster.api import Namespace
from cloud.cluster.kubeconfig import connect
from cloud.inboxes.config_maps import ConfigMapInboxes
from cloud.patience import Away
from cloudedge.errors import CloudedgeError, Conflict, InvalidInput, NotFound, StoreFailed
from cloudedge.network import AUTHORITIES, Obstacle
from tests.answers import Answer, Answering, Asked, Authority, answering, proxy, status
from tests.cloud.cluster.kubeconfigs import written
from tests.cluster.processes import free_port
from tests.obstacles import MET, WAYS

MAP = json.dumps({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "one"}})
FORBIDDEN = (
    'configmaps "one" is forbidden: User "jane" cannot get resource "configmaps" in API group "" in the namespace "edges"'
)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(autouse=True)
def never_waits(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """Time passes in pauses alone, which are told."""
    pauses: list[float] = []

    class Clock:
        @staticmethod
        def monotonic() -> float:
            return sum(pauses)

        sleep = pauses.append

    monkeypatch.setattr("cloud.patience.time", Clock)
    return iter((pauses,))


@pytest.fixture
def pauses(never_waits: Iterator[list[float]]) -> list[float]:
    return next(never_waits)


class Person:
    """Somebody with a kubeconfig."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder, self._monkeypatch = folder, monkeypatch

    def namespace(self, server: str, authority: Authority | None = None, **said: Any) -> Namespace:
        """A namespace of the cluster there."""
        trusted = {"certificate-authority": str(authority.certificate)} if authority else {}
        path = written(self._folder / "config", cluster={"server": server, **trusted, **said.pop("cluster", {})}, **said)
        self._monkeypatch.setenv("KUBECONFIG", str(path))
        return Namespace("edges", connect(), 30)


@pytest.fixture
def person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Person:
    for name in WAYS:
        monkeypatch.delenv(name, raising=False)
    return Person(tmp_path, monkeypatch)


def read(namespace: Namespace) -> Any:
    return namespace.asked("read it", client.CoreV1Api(namespace.api).read_namespaced_config_map, "one", "edges")


def says(*answers: Answer) -> Callable[[Asked], Answer]:
    """These answers, one by one; the last again and again. Whoever asks whether all is ready is told that it is."""
    left = list(answers)

    def answer(asked: Asked) -> Answer:
        if asked.path == "/readyz":
            return Answer(200, "ok")
        return left.pop(0) if len(left) > 1 else left[0]

    return answer


def refused(namespace: Namespace) -> str:
    with pytest.raises(StoreFailed) as raised:
        read(namespace)
    return str(raised.value)


# What stays wrong until a person mends it.


def test_certificates_that_prove_nothing_are_told_at_once(
    person: Person, authority: Authority, tmp_path: Path, pauses: list[float]
) -> None:
    stranger = Authority(tmp_path / "stranger")
    past = -datetime.timedelta(days=2)
    for tls, trusted, why, remedy in (
        (
            authority.server("127.0.0.1"),
            stranger,
            "of an authority that is not trusted here",
            "certificate-authority of its cl",
        ),
        (
            authority.server("127.0.0.1"),
            None,
            "of an authority that is not trusted here",
            "certificate-authority of its cluster",
        ),
        (authority.server("10.0.0.1"), authority, "for another name", "set tls-server-name there to the name"),
        (authority.server("127.0.0.1", lasts=past), authority, "has expired", "Renew the API server's"),
    ):
        with answering(says(Answer(200, MAP)), tls) as server:
            told = refused(person.namespace(server.url, trusted))
        assert told.startswith(f"The cluster's API server {server.url} cannot be asked: its certificate ")
        assert why in told
        assert remedy in told
        assert str(tmp_path / "config") in told or "clock" in told
    assert pauses == []


def test_where_the_kubeconfig_names_no_authority_those_of_the_environment_are_trusted(
    person: Person, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with answering(says(Answer(200, MAP)), authority.server("127.0.0.1")) as server:
        for variable in reversed(AUTHORITIES):
            monkeypatch.setenv(variable, str(authority.certificate))
            assert read(person.namespace(server.url)).metadata.name == "one"
            monkeypatch.setenv(variable, str(tmp_path / "missing"))
            with pytest.raises(InvalidInput, match=f"{variable} names .*missing.*, which cannot be read: No such file"):
                person.namespace(server.url)
            monkeypatch.setenv(variable, str(Authority(tmp_path / "stranger").certificate))
            assert "not trusted here" in refused(person.namespace(server.url))


def test_who_is_asked_without_credentials_is_believed_as_before(
    person: Person, authority: Authority, monkeypatch: pytest.MonkeyPatch, pauses: list[float]
) -> None:
    monkeypatch.setenv("CURL_CA_BUNDLE", str(authority.certificate))
    with answering(
        lambda asked: Answer(200, "ok") if asked.path == "/readyz" else status(401, "Unauthorized"),
        authority.server("127.0.0.1"),
    ) as server:
        assert "Renew the credentials of" in refused(person.namespace(server.url))
    assert pauses == []


@pytest.mark.parametrize(("error", "obstacle"), MET)
def test_what_stands_in_the_way_is_told_at_once_where_it_is_certain(
    person: Person, pauses: list[float], error: Exception, obstacle: Obstacle
) -> None:
    def ask(**_: Any) -> None:
        raise error

    with pytest.raises(StoreFailed, match=obstacle.value if obstacle.certain else "does not answer when asked to read it"):
        person.namespace("https://one.example").asked("read it", ask)
    assert bool(pauses) is not obstacle.certain


@pytest.mark.parametrize("lasts", [1, -2])
def test_a_clients_certificate_that_is_refused_is_told(
    person: Person, authority: Authority, tmp_path: Path, lasts: int
) -> None:
    own = authority if lasts < 0 else Authority(tmp_path / "stranger")
    certificate, key = own.issue("client", lasts=datetime.timedelta(days=lasts))
    user = {"client-certificate": str(certificate), "client-key": str(key)}
    with answering(says(Answer(200, MAP)), authority.server("127.0.0.1", clients=True)) as server:
        told = refused(person.namespace(server.url, authority, user=user))
    assert "it refuses the client's certificate" in told
    assert told.endswith(f"Renew the client-certificate of the user test of the context test in {tmp_path / 'config'}.")


def test_https_where_there_is_none_and_none_where_there_is_are_told_at_once(
    person: Person, authority: Authority, pauses: list[float]
) -> None:
    with answering(says(Answer(200, MAP))) as server:
        told = refused(person.namespace(server.url.replace("http", "https"), authority))
    assert "it does not speak https at this port" in told
    assert "its port, or http:// for https://." in told
    with answering(says(Answer(400, "Client sent an HTTP request to an HTTPS server.\n", "text/plain"))) as server:
        assert "speaks https: write https:// in" in refused(person.namespace(server.url))
    assert pauses == []


def test_a_name_that_no_host_has_is_told_at_once(person: Person, pauses: list[float]) -> None:
    assert "there is no host of this name" in refused(person.namespace("https://no-such-host.invalid:6443"))
    assert pauses == []


PAGE = "<!doctype html>\n<title>Sign in</title>"


@pytest.mark.parametrize(
    ("answer", "quoted"),
    [
        (Answer(200, PAGE, "text/html"), "but: <!doctype html> <title>Sign in</title>."),
        (Answer(200, ""), "but: nothing."),
        (Answer(200, "[]"), "but: []."),
        (Answer(200, '{"message": "hello"}'), 'but: {"message": "hello"}.'),
        (Answer(401, PAGE, "text/html"), "but: 401, <!doctype html>"),
        (Answer(403, PAGE, "text/html"), "but: 403, <!doctype html>"),
        (Answer(404, "404 page not found", "text/plain"), "but: 404, 404 page not found."),
        (Answer(302, "", "text/html"), "but: 302, Found."),
    ],
)
def test_who_is_no_api_server_is_told_at_once(person: Person, pauses: list[float], answer: Answer, quoted: str) -> None:
    with answering(says(answer)) as server:
        told = refused(person.namespace(server.url))
    assert told.startswith(f"{server.url} does not answer as the API server of a cluster does, ")
    assert quoted in told
    assert "Correct the server in " in told
    assert pauses == []


def test_credentials_that_a_ready_api_server_does_not_know_are_told_at_once(
    person: Person, authority: Authority, tmp_path: Path, pauses: list[float]
) -> None:
    def answer(asked: Asked) -> Answer:
        return Answer(200, "ok") if asked.path == "/readyz" and "authorization" not in asked.headers else unauthorized

    unauthorized = status(401, "Unauthorized")
    with answering(answer, authority.server("127.0.0.1")) as server:
        told = refused(person.namespace(server.url, authority))
    assert told.endswith(f"401: Unauthorized. Renew the credentials of the user test of the context test in {tmp_path}/config.")
    assert len(server.asked) == 3
    assert pauses == []


# What may pass.


@pytest.mark.parametrize(
    "passing",
    [Answer(0), *(status(code, "Soon.") for code in (408, 429, 500, 502, 503, 504)), Answer(502, PAGE, "text/html")],
)
def test_what_may_pass_is_asked_again(person: Person, pauses: list[float], passing: Answer) -> None:
    with answering(says(passing, passing, Answer(200, MAP))) as server:
        assert read(person.namespace(server.url)).metadata.name == "one"
    assert len(pauses) == 2


@pytest.mark.parametrize("code", [401, 403])
def test_an_api_server_that_starts_and_refuses_everybody_is_asked_again(
    person: Person, authority: Authority, pauses: list[float], code: int
) -> None:
    def answer(asked: Asked) -> Answer:
        return Answer(200, MAP) if len(server.asked) > 9 else status(code, FORBIDDEN)

    with answering(answer, authority.server("127.0.0.1")) as server:
        assert read(person.namespace(server.url, authority)).metadata.name == "one"
    assert pauses


@pytest.mark.parametrize(("code", "told"), [(401, "Renew the credentials of the user"), (403, "Give this account the role")])
def test_who_is_refused_until_patience_ends_is_told_what_would_help(
    person: Person, authority: Authority, code: int, told: str
) -> None:
    with answering(lambda asked: status(code, FORBIDDEN), authority.server("127.0.0.1")) as server:
        namespace = person.namespace(server.url, authority)
        with pytest.raises(StoreFailed, match=told) as raised:
            read(namespace)
        assert not isinstance(raised.value, Away), "it answers"
        with pytest.raises(StoreFailed) if code == 401 else contextlib.nullcontext():
            namespace.require()


def test_nobody_at_a_port_is_asked_again_until_patience_ends(person: Person, pauses: list[float]) -> None:
    with pytest.raises(Away, match="does not answer when asked to read it"):
        read(person.namespace(f"https://127.0.0.1:{free_port()}"))
    assert sum(pauses) > 10


# The remedy is that of the fault at hand.


@pytest.mark.parametrize(
    ("answer", "kind", "remedy"),
    [
        (
            status(403, FORBIDDEN),
            StoreFailed,
            "Give this account the role 'cloudedge-dispatch' (see docs/guide-administrator.md)",
        ),
        (
            status(
                403, 'configmaps "one" is forbidden: exceeded quota: few, requested: count/configmaps=1, used: 3, limited: 3'
            ),
            StoreFailed,
            "Correct what it names, or have the cluster's rule changed.",
        ),
        (
            status(403, "unable to create new content in namespace edges because it is being terminated"),
            StoreFailed,
            "Name another namespace, or make it anew once it is gone.",
        ),
        (
            status(400, 'admission webhook "images.example" denied the request: use our registry'),
            InvalidInput,
            "Correct what it names",
        ),
        (
            status(422, 'ConfigMap "one" is invalid: []: Too long: may not be more than 1048576 bytes'),
            InvalidInput,
            "Correct what",
        ),
        (status(413, "Request entity too large: limit is 3145728"), InvalidInput, "Make it smaller."),
        (status(404, 'configmaps "one" not found'), NotFound, ""),
        (status(409, 'configmaps "one" already exists'), Conflict, ""),
    ],
)
def test_a_refusal_comes_with_its_own_remedy(person: Person, answer: Answer, kind: type[CloudedgeError], remedy: str) -> None:
    with answering(says(answer)) as server, pytest.raises(kind) as raised:
        read(person.namespace(server.url))
    message = json.loads(answer.text)["message"]
    where = f"namespace edges of {server.url} (context test)"
    start = f"It was not possible to read it in {where}: {answer.status}: {message}."
    assert str(raised.value).startswith(f"{start} {remedy}".rstrip())
    assert ("Give this account" in str(raised.value)) == (message == FORBIDDEN)


def test_a_right_that_only_this_question_needs_is_named(person: Person) -> None:
    with answering(says(status(403, FORBIDDEN))) as server:
        namespace = person.namespace(server.url)
        with pytest.raises(StoreFailed, match="Give this account the cluster role 'nodes'"):
            namespace.asked("list nodes", client.CoreV1Api(namespace.api).list_node, rights="the cluster role 'nodes'")


# Whether there is such a namespace.


MISSING, DENIED = status(404, 'namespaces "edges" not found'), status(403, FORBIDDEN)


@pytest.mark.parametrize(
    ("look", "trial", "there"),
    [
        (Answer(200, '{"kind": "Namespace"}'), MISSING, True),
        (MISSING, MISSING, False),
        (DENIED, MISSING, False),
        (DENIED, Answer(201, MAP), True),
        (DENIED, DENIED, True),
        (DENIED, status(400, 'admission webhook "x" does not support dry run'), True),
    ],
)
def test_a_namespace_that_is_not_there_is_found_out_as_far_as_one_may(
    person: Person, look: Answer, trial: Answer, there: bool
) -> None:
    def answer(asked: Asked) -> Answer:
        return Answer(200, "ok") if asked.path == "/readyz" else look if asked.verb == "GET" else trial

    with answering(answer) as server:
        namespace = person.namespace(server.url)
        if there:
            namespace.require()
        else:
            with pytest.raises(NotFound, match="There is no namespace edges of .*: correct CLOUDEDGE_INBOXES"):
                namespace.require()
    assert all(asked.verb == "GET" or "dryRun=All" in asked.path for asked in server.asked)


def test_no_edges_in_a_namespace_that_is_not_there_are_not_no_edges(person: Person) -> None:
    empty = json.dumps({"kind": "ConfigMapList", "apiVersion": "v1", "metadata": {}, "items": []})

    def answer(asked: Asked) -> Answer:
        return there if asked.path == "/api/v1/namespaces/edges" else Answer(200, empty)

    with answering(answer) as server:
        inboxes = ConfigMapInboxes(person.namespace(server.url))
        there = Answer(200, '{"kind": "Namespace"}')
        assert inboxes.edges() == []
        assert list(inboxes.all()) == []
        there = MISSING
        for listed in (inboxes.edges, lambda: list(inboxes.all())):
            with pytest.raises(NotFound, match="There is no namespace edges"):
                listed()


def test_a_namespace_in_which_something_is_needs_no_other_proof(person: Person) -> None:
    others = {"metadata": {"name": "kube-root-ca.crt"}, "data": {"ca.crt": "x"}}
    listing = json.dumps({"kind": "ConfigMapList", "apiVersion": "v1", "metadata": {}, "items": [others]})
    with answering(says(Answer(200, listing))) as server:
        inboxes = ConfigMapInboxes(person.namespace(server.url))
        assert inboxes.edges() == []
        assert list(inboxes.all()) == []
    assert len(server.asked) == 2


# Over a proxy.


@pytest.fixture
def far(authority: Authority) -> Iterator[Answering]:
    """A server that has a name which only a proxy knows."""
    with answering(says(Answer(200, MAP)), authority.server("kubernetes.invalid")) as server:
        yield server


def test_an_api_server_is_asked_over_the_proxy_that_the_environment_names(
    person: Person, authority: Authority, far: Answering, monkeypatch: pytest.MonkeyPatch
) -> None:
    with proxy(far) as between:
        monkeypatch.setenv("HTTPS_PROXY", between.url.replace("//", "//me:secret@"))
        assert read(person.namespace("https://kubernetes.invalid:6443", authority)).metadata.name == "one"
    assert between.hosts == ["kubernetes.invalid:6443"]
    assert between.credentials == ["Basic bWU6c2VjcmV0"]


def test_an_api_server_is_asked_over_the_proxy_that_the_kubeconfig_names(
    person: Person, authority: Authority, far: Answering, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    with proxy(far) as between:
        namespace = person.namespace("https://kubernetes.invalid:6443", authority, cluster={"proxy-url": between.url})
        assert read(namespace).metadata.name == "one"
    assert between.hosts == ["kubernetes.invalid:6443"]


def test_a_proxy_that_refuses_is_told_at_once_and_one_in_trouble_is_asked_again(
    person: Person, authority: Authority, far: Answering, pauses: list[float]
) -> None:
    for code in (407, 502):
        with proxy(far, code) as between:
            namespace = person.namespace("https://kubernetes.invalid:6443", authority, cluster={"proxy-url": between.url})
            told = refused(namespace)
        if code == 407:
            assert "the proxy before it refuses" in told
            assert "Correct HTTPS_PROXY, NO_PROXY, or proxy-url in " in told
            assert pauses == []
    assert pauses
