"""A real Kubernetes control plane without nodes: etcd, kube-apiserver, the controller manager and the scheduler."""

import datetime
import ipaddress
import json
import secrets
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from kubernetes import client, config
from kubernetes.client import ApiClient

from tests.cluster.processes import Server, free_port
from tests.cluster.tools import program
from tests.waiting import until

SERVICES = "10.96.0.0/16"
_SERVICE = "10.96.0.1"
"""The API server's own address among the services: the first."""


class ControlPlane:
    """A control plane, and ways into it."""

    def __init__(self, folder: Path, address: str = "127.0.0.1") -> None:
        """Make keys, and prepare the servers; the API server's address and all ports stay when they are started again."""
        self.folder = folder
        self.url = f"https://{address}:{free_port(address)}"
        self._pki = _Pki(folder / "pki", address)
        self._token = secrets.token_hex(24)
        tokens = folder / "tokens.csv"
        tokens.write_text(f"{self._token},admin,admin,system:masters\n")
        self.kubeconfig = self._write_kubeconfig("admin", self._token)
        clients, peers = f"http://127.0.0.1:{free_port()}", f"http://127.0.0.1:{free_port()}"
        self._etcd = Server(
            [
                program("etcd"),
                "--name=test",
                f"--data-dir={folder / 'etcd'}",
                "--unsafe-no-fsync",
                f"--listen-client-urls={clients}",
                f"--advertise-client-urls={clients}",
                f"--listen-peer-urls={peers}",
                f"--initial-advertise-peer-urls={peers}",
                f"--initial-cluster=test={peers}",
            ],
            folder / "etcd.log",
        )
        self._api_server = Server(
            [
                program("kube-apiserver"),
                f"--etcd-servers={clients}",
                f"--bind-address={address}",
                f"--advertise-address={address}",
                f"--secure-port={self.url.rpartition(':')[2]}",
                # Pods on a node find it under its service's address; it cannot stand for one that is this machine's own.
                f"--endpoint-reconciler-type={'none' if ipaddress.ip_address(address).is_loopback else 'lease'}",
                "--kubelet-preferred-address-types=InternalIP",
                f"--tls-cert-file={self._pki.server.certificate}",
                f"--tls-private-key-file={self._pki.server.key}",
                f"--token-auth-file={tokens}",
                f"--service-account-key-file={self._pki.accounts_public}",
                f"--service-account-signing-key-file={self._pki.accounts}",
                "--service-account-issuer=https://kubernetes.default.svc",
                "--authorization-mode=RBAC",
                f"--service-cluster-ip-range={SERVICES}",
            ],
            folder / "kube-apiserver.log",
        )
        self._controllers = self._client_server(
            "kube-controller-manager",
            f"--service-account-private-key-file={self._pki.accounts}",
            f"--root-ca-file={self._pki.authority.certificate}",
            "--use-service-account-credentials=true",
        )
        self._scheduler = self._client_server("kube-scheduler")

    def start(self) -> None:
        """Start everything."""
        self._etcd.start(lambda: True)
        self.start_api_server()
        self._controllers.start(lambda: True)
        self._scheduler.start(lambda: True)
        core = client.CoreV1Api(self.client())
        until(lambda: core.list_namespaced_service_account("default").items, what="the controllers' first work")

    def start_api_server(self) -> None:
        """Start the API server, or start it again."""
        self._api_server.start(self._ready)

    def kill_api_server(self) -> None:
        """As a crash would."""
        self._api_server.kill()

    def stop(self) -> None:
        """End everything."""
        for server in (self._scheduler, self._controllers, self._api_server, self._etcd):
            server.stop()

    def client(self, kubeconfig: Path | None = None) -> ApiClient:
        """A client; by default the administrator's, which all share."""
        return config.new_client_from_config(str(kubeconfig)) if kubeconfig else self._administrators

    @cached_property
    def _administrators(self) -> ApiClient:
        return config.new_client_from_config(str(self.kubeconfig))

    def namespace(self) -> str:
        """A new namespace."""
        name = f"test-{secrets.token_hex(5)}"
        client.CoreV1Api(self.client()).create_namespace({"metadata": {"name": name}})
        return name

    def account(self, namespace: str, name: str) -> Path:
        """The kubeconfig of a service account, which must exist."""
        body: dict[str, Any] = {"spec": {"expirationSeconds": 3600}}
        core = client.CoreV1Api(self.client())
        token = core.create_namespaced_service_account_token(name, namespace, body).status.token
        return self._write_kubeconfig(f"{namespace}-{name}", token, namespace)

    def _client_server(self, name: str, *arguments: str) -> Server:
        """A server that works by asking the API server, as its administrator."""
        command: list[str | Path] = [
            program(name),
            f"--kubeconfig={self.kubeconfig}",
            f"--authentication-kubeconfig={self.kubeconfig}",
            f"--authorization-kubeconfig={self.kubeconfig}",
            "--bind-address=127.0.0.1",
            f"--secure-port={free_port()}",
            f"--cert-dir={self.folder / name}",
            "--leader-elect=false",
            *arguments,
        ]
        return Server(command, self.folder / f"{name}.log")

    def _write_kubeconfig(self, name: str, token: str, namespace: str = "default") -> Path:
        cluster = {"server": self.url, "certificate-authority": str(self._pki.authority.certificate)}
        context = {"cluster": "test", "user": name, "namespace": namespace}
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": name, "user": {"token": token}}],
            "contexts": [{"name": "test", "context": context}],
        }
        path = self.folder / f"{name}.kubeconfig"
        path.write_text(json.dumps(content))
        path.chmod(0o600)
        return path

    def _ready(self) -> bool:
        tls = urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=self._pki.authority.certificate))
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), tls)
        request = urllib.request.Request(f"{self.url}/readyz", headers={"Authorization": f"Bearer {self._token}"})
        try:
            with opener.open(request, timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False


@dataclass(frozen=True)
class _Pair:
    certificate: Path
    key: Path


class _Pki:
    """An authority, the API server's certificate, and the key that signs service accounts' tokens."""

    def __init__(self, folder: Path, address: str) -> None:
        folder.mkdir(parents=True, mode=0o700)
        authority_key, server_key, accounts_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
        authority = _certificate("test-authority", authority_key, "test-authority", authority_key, None)
        server = _certificate("kube-apiserver", server_key, "test-authority", authority_key, address)
        self.authority = _Pair(_written(folder / "ca.crt", authority), _written(folder / "ca.key", authority_key))
        self.server = _Pair(_written(folder / "api.crt", server), _written(folder / "api.key", server_key))
        self.accounts = _written(folder / "accounts.key", accounts_key)
        self.accounts_public = _written(folder / "accounts.pub", accounts_key.public_key())


def _certificate(
    name: str, key: ec.EllipticCurvePrivateKey, issuer: str, signer: ec.EllipticCurvePrivateKey, address: str | None
) -> x509.Certificate:
    """A server's certificate; without an address an authority's."""
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=address is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    if address:
        names = [x509.IPAddress(ipaddress.ip_address(each)) for each in (address, _SERVICE)]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(signer, hashes.SHA256())


def _written(path: Path, what: x509.Certificate | ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey) -> Path:
    pem = serialization.Encoding.PEM
    if isinstance(what, x509.Certificate):
        content = what.public_bytes(pem)
    elif isinstance(what, ec.EllipticCurvePrivateKey):
        content = what.private_bytes(pem, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())
    else:
        content = what.public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    path.write_bytes(content)
    path.chmod(0o600)
    return path
