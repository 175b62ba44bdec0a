"""Which cluster is meant, and who asks it."""

import base64
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cloud.cluster.kubeconfig import Cluster, connect
from cloudedge.errors import InvalidInput, StoreFailed
from tests.answers import Authority
from tests.cloud.cluster.kubeconfigs import CLUSTER, USER, content, written
from tests.cluster.control_plane import ControlPlane
from tests.cluster.tools import program
from tests.obstacles import WAYS


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No cluster is meant but the test's."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", *WAYS):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """We are in a pod."""
    for name, text in (("TOKEN", "token-of-the-pod"), ("CERT", Authority(tmp_path / "pod").certificate.read_text())):
        (tmp_path / name).write_text(text)
        monkeypatch.setattr(f"kubernetes.config.incluster_config.SERVICE_{name}_FILENAME", str(tmp_path / name))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")


def connected(path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    monkeypatch.setenv("KUBECONFIG", str(path))
    return connect()


def authorization(cluster: Cluster) -> str:
    """What the API server is told of who asks."""
    return str(cluster.configuration.get_api_key_with_prefix("authorization") or "")


TWO = {"server": "https://two:6443"}


@pytest.mark.parametrize(
    ("files", "server", "context"),
    [
        ({"a": content("one")}, "https://one:6443", "one"),
        ({"a": None, "b": content("one")}, "https://one:6443", "one"),
        ({"a": {}, "b": content("one")}, "https://one:6443", "one"),
        ({"a": content("one"), "b": content("two", TWO)}, "https://one:6443", "one"),
        ({"a": content("one", current=""), "b": content("two", TWO)}, "https://two:6443", "two"),
        ({"a": content("one", current="two"), "b": content("two", TWO)}, "https://two:6443", "two"),
        ({"a": content("one", current=""), "b": content("one", TWO)}, "https://one:6443", "one"),
        ({"a": {"current-context": "two", "clusters": None}, "b": content("two", TWO)}, "https://two:6443", "two"),
    ],
)
def test_of_several_kubeconfigs_the_first_to_say_something_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, Any], server: str, context: str
) -> None:
    _write(tmp_path, files, monkeypatch)
    cluster = connect()
    assert (cluster.configuration.host, cluster.context) == (server, context)


def _write(folder: Path, files: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, said in files.items():
        if said is not None:
            (folder / name).write_text(json.dumps(said))
    monkeypatch.setenv("KUBECONFIG", os.pathsep.join(["", *(str(folder / name) for name in files)]))


@pytest.fixture(scope="module")
def kubectl(control_plane: ControlPlane) -> Path:
    """The real one, sought before the home folder is another."""
    return program("kubectl")


@pytest.mark.parametrize("current", ["one", "two"])
def test_kubectl_means_the_same_cluster(kubectl: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, current: str) -> None:
    files = {"a": content("one", current=""), "b": None, "c": content("two", TWO, current=current), "d": content("one", TWO)}
    _write(tmp_path, files, monkeypatch)
    shown = subprocess.run([kubectl, "config", "view", "--minify", "-o=json"], capture_output=True, check=True)
    assert connect().configuration.host == json.loads(shown.stdout)["clusters"][0]["cluster"]["server"]


def test_a_kubeconfig_counts_before_the_account_of_the_pod(pod: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = connected(written(tmp_path / "config"), monkeypatch)
    assert (cluster.configuration.host, authorization(cluster)) == ("https://one:6443", "Bearer secret")


@pytest.mark.parametrize("said", [None, {}, content("one", current="")], ids=["missing", "empty", "no context chosen"])
def test_the_account_of_the_pod_counts_where_no_kubeconfig_chooses(
    pod: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: Any
) -> None:
    _write(tmp_path, {"config": said}, monkeypatch)
    cluster = connect()
    assert (cluster.configuration.host, cluster.context) == ("https://10.96.0.1:443", "")
    assert authorization(cluster) == "bearer token-of-the-pod"


def test_without_a_variable_the_kubeconfig_is_in_the_home_folder(tmp_path: Path) -> None:
    (tmp_path / ".kube").mkdir()
    written(tmp_path / ".kube" / "config")
    assert connect().configuration.host == "https://one:6443"


@pytest.mark.parametrize("in_a_pod", [False, True])
@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("garbage", "it holds no fields"),
        ("a: [1", "while parsing a flow sequence"),
        ("clusters: 5", "its clusters are no list of names with a cluster each"),
        ("users: [{user: {}}]", "its users are no list of names with a user each"),
        ("current-context: prod", "current-context names the context 'prod', which is not there; there are: none"),
        (
            {**content("one"), "clusters": []},
            "the context one names the cluster 'one', which is not there; there are: none",
        ),
        ({**content("one"), "users": []}, "the context one names the user 'one', which is not there"),
        (content("one", {"server": "one:6443"}), "server of the cluster one is 'one:6443', and not http"),
        (content("one", {**CLUSTER, "certificate-authority": "gone.crt"}), "gone.crt"),
        (content("one", {**CLUSTER, "certificate-authority-data": "abcde"}), "base64-encoded"),
        (
            content("one", {**CLUSTER, "certificate-authority-data": base64.b64encode(b"none").decode()}),
            "certificate-authority of its cluster one is no certificate",
        ),
        (
            content("one", user={**USER, "as": "root", "as-groups": ["a"]}),
            "its user one has as-groups, which cloudedge does not",
        ),
    ],
)
def test_a_kubeconfig_that_cannot_be_used_is_told_of_and_nothing_else_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, said: Any, told: str, in_a_pod: bool
) -> None:
    if in_a_pod:
        request.getfixturevalue("pod")
    path = tmp_path / "config"
    path.write_text(said if isinstance(said, str) else json.dumps(said))
    with pytest.raises(InvalidInput) as raised:
        connected(path, monkeypatch)
    assert f"There is no cluster to talk to: {path} is no kubeconfig that can be used: " in str(raised.value)
    assert told in str(raised.value)
    assert str(raised.value).endswith(". Correct it, or KUBECONFIG.")


def test_where_there_is_no_kubeconfig_the_way_out_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        InvalidInput, match="no cluster to talk to: ~/.kube/config chooses no context, or is not there. Set KUBE"
    ):
        connect()


def test_files_are_those_beside_the_kubeconfig_that_names_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority(tmp_path / "elsewhere")
    certificate, key = authority.issue("client")
    cluster = {**CLUSTER, "certificate-authority": authority.certificate.name}
    users = {"client-certificate": certificate.name, "client-key": key.name}
    first = content("one", user=users)
    first["clusters"] = []
    (tmp_path / "user").write_text(json.dumps(first))
    for path in (certificate, key):
        path.rename(tmp_path / path.name)
    written(tmp_path / "elsewhere" / "cluster", "one", cluster=cluster)
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path / 'user'}{os.pathsep}{tmp_path / 'elsewhere' / 'cluster'}")
    settings = connect().configuration
    assert settings.ssl_ca_cert == str(authority.certificate)
    assert settings.cert_file == str(tmp_path / certificate.name)


def test_no_credentials_are_sent_in_the_clear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "config", cluster={"server": "http://one:8080"})
    assert authorization(connected(path, monkeypatch)) == ""


def test_one_who_acts_as_another_does_so_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = connected(written(tmp_path / "config", user={**USER, "as": "viewer"}), monkeypatch)
    assert cluster.default_headers["Impersonate-User"] == "viewer"


def test_a_token_file_is_read_again_as_others_renew_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    token = tmp_path / "token"
    token.write_text("first\n")
    cluster = connected(written(tmp_path / "config", user={"tokenFile": "token", "token": "old"}), monkeypatch)
    assert authorization(cluster) == "Bearer first"
    token.write_text("second\n")
    assert authorization(cluster) == "Bearer second"
    token.unlink()
    with pytest.raises(StoreFailed, match="token file .*/token of the user test of the context test in .*/config has no token"):
        authorization(cluster)


def plugin(folder: Path, script: str, **more: str) -> dict[str, Any]:
    path = folder / "plugin"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    version = "client.authentication.k8s.io/v1"
    return {"exec": {"apiVersion": version, "command": "./plugin", "interactiveMode": "Never", **more}}


def given(status: dict[str, str]) -> str:
    said = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}
    return f"echo '{json.dumps(said)}'"


def test_a_program_may_give_the_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    user = plugin(tmp_path, given({"token": "fresh"}))
    assert authorization(connected(written(tmp_path / "config", user=user), monkeypatch)) == "Bearer fresh"


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("echo 'sign in again' >&2; exit 3", "exec: process returned 3. sign in again"),
        ("echo hello", "exec: failed to decode process output"),
        (given({}), "it gave neither a token nor a certificate with its key"),
        (given({"clientCertificateData": "-"}), "it gave neither a token nor a certificate with its key"),
        (given({"token": "x", "expirationTimestamp": "soon"}), "expirationTimestamp|soon|format|NoneType"),
    ],
)
def test_a_program_that_gives_no_credentials_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, why: str
) -> None:
    user = plugin(tmp_path, script, installHint="Install\nit.")
    with pytest.raises(StoreFailed, match=f"/plugin gives no credentials for the user test of .*({why})") as raised:
        connected(written(tmp_path / "config", user=user), monkeypatch)
    assert str(raised.value).endswith("Renew its own sign-in, or correct it there. Install it.")


def test_a_program_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    user = plugin(tmp_path, "")
    user["exec"]["command"] = "no-such-program"
    with pytest.raises(StoreFailed, match="no-such-program gives no credentials .*No such file"):
        connected(written(tmp_path / "config", user=user), monkeypatch)


def test_the_kubeconfigs_own_proxy_counts_before_the_environments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://other:1")
    monkeypatch.setenv("NO_PROXY", "*")
    own = {**CLUSTER, "proxy-url": "http://me:p%40ss@proxy:3128"}
    settings = connected(written(tmp_path / "config", cluster=own), monkeypatch).configuration
    assert settings.proxy == own["proxy-url"]
    assert settings.proxy_headers == {"proxy-authorization": f"Basic {base64.b64encode(b'me:p@ss').decode()}"}


def test_a_proxy_of_another_kind_is_refused_without_its_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = {**CLUSTER, "proxy-url": "socks5://me:secret@proxy:1080"}
    with pytest.raises(InvalidInput, match="^The proxy 'proxy:1080' of the cluster test in .*/config cannot be used here"):
        connected(written(tmp_path / "config", cluster=own), monkeypatch)
