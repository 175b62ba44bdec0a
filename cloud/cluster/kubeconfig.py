"""The cluster that is meant, found as kubectl finds it (client-go 0.36, tools/clientcmd).

KUBECONFIG names files, separated by `:`; without it there is ~/.kube/config. A file that is not there is passed over. Of two
clusters, users or contexts of one name the first counts, whole, and so does the first `current-context`. Only where no context
is chosen does the account of the pod count that this process runs in. A context that names what is nowhere is refused in any
case, where kubectl would go on as nobody, or with the pod's account.
"""

import json
import os
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from kubernetes import client, config
from kubernetes.config.exec_provider import ExecProvider
from kubernetes.config.kube_config import FileOrData, KubeConfigLoader, parse_rfc3339

from cloudedge.errors import InvalidInput, StoreFailed
from cloudedge.network import Proxy, proxy_for, trust

_MOST_SAID = 300
"""Characters of what somebody else says is wrong."""

_POOL = 32
"""Connections kept to an API server."""

_PATHS = {"cluster": ("certificate-authority",), "user": ("client-certificate", "client-key", "tokenFile")}
"""Fields that name files, relative to the kubeconfig that they stand in."""

_GROUPS = ("as-groups", "as-user-extra")

_OF_TEXTS = {"str", "file", None}
"""What is asked for where the answer is no object."""

_MOST_QUOTED = 80


class Cluster(client.ApiClient):  # type: ignore[misc]  # kubernetes has no types.
    """A way into a cluster.

    Attributes:
        context: The kubeconfig's context; empty: the account of the pod.
        source: Where the way is written down, for a person.
        account: Who asks, for a person.
    """

    def __init__(self, settings: client.Configuration, context: str, source: str, account: str) -> None:
        """Connect when first asked for something.

        Raises:
            InvalidInput: the environment names authorities that cannot be used.
        """
        settings.retries = False  # `Namespace.asked` knows what is worth another try, and for how long.
        settings.connection_pool_maxsize = _POOL
        super().__init__(settings)
        trusting(self)
        self.context = context
        self.source = source
        self.account = account

    def deserialize(self, response: Any, response_type: Any) -> Any:
        """Understand an answer; the client would take any text for one of an API server's.

        Raises:
            StoreFailed: it is not.
        """
        if response_type in _OF_TEXTS or is_of_an_api_server(response.data):
            return super().deserialize(response, response_type)
        raise no_api_server(self.configuration.host, self.source, said_by(response.data))


def trusting(api: client.ApiClient) -> client.ApiClient:
    """A way into a cluster that believes whom the environment names, where the kubeconfig names nobody."""
    settings = api.configuration
    if settings.verify_ssl and not settings.ssl_ca_cert and settings.host.startswith("https:"):
        trust(api.rest_client.pool_manager)
    return api


def is_of_an_api_server(text: str | None) -> bool:
    """Whether something is an object of Kubernetes, as all that an API server says is, also when it refuses."""
    try:
        return "kind" in json.loads(text or "")
    except (TypeError, ValueError):
        return False


def no_api_server(host: str, source: str, said: str) -> StoreFailed:
    """Somebody else answers."""
    return StoreFailed(
        f"{host} does not answer as the API server of a cluster does, but: {said or 'nothing'}. "
        f"Correct the server in {source}; if this is a page to sign in, do that first."
    )


def said_by(text: str | None) -> str:
    """The beginning of what somebody says, in one line."""
    return " ".join((text or "").split())[:_MOST_QUOTED]


def connect() -> Cluster:
    """The cluster of the kubeconfig, else the one that this process runs in.

    Raises:
        InvalidInput: there is neither, or the kubeconfig cannot be used.
        StoreFailed: who keeps the credentials does not give them.
    """
    named = os.environ.get("KUBECONFIG")
    source = named or "~/.kube/config"
    files = named.split(os.pathsep) if named else [str(Path.home() / ".kube" / "config")]
    found = _Kubeconfig(list(dict.fromkeys(filter(None, files))), source)
    return found.connected() if found.context else _of_the_pod(source)


def _of_the_pod(source: str) -> Cluster:
    settings = client.Configuration()
    try:
        config.load_incluster_config(client_configuration=settings)
    except config.ConfigException:
        raise InvalidInput(
            f"There is no cluster to talk to: {source} chooses no context, or is not there. Set KUBECONFIG to a kubeconfig "
            "('kubectl config get-contexts' shows its contexts, 'kubectl config use-context' chooses one)."
        ) from None
    _use_proxy(settings, "", source)
    return Cluster(settings, "", "this pod", "the account of this pod")


class _Kubeconfig:
    """What some files say together."""

    def __init__(self, files: list[str], source: str) -> None:
        self._source = source
        self._known: dict[str, dict[str, tuple[str, dict[str, Any]]]] = {"clusters": {}, "contexts": {}, "users": {}}
        self.context = ""
        for file in files:
            content = _content(file)
            for kind, of_kind in self._known.items():
                for name, value in _items(file, content, kind):
                    of_kind.setdefault(name, (file, value))
            self.context = self.context or str(content.get("current-context") or "")

    def connected(self) -> Cluster:
        """The cluster of the current context.

        Raises:
            InvalidInput: something in it cannot be used.
            StoreFailed: who keeps the credentials does not give them.
        """
        file, context = self._of("contexts", self.context, "current-context")
        cluster_name, user_name = (str(context.get(each) or "") for each in ("cluster", "user"))
        cluster = self._resolved("cluster", *self._of("clusters", cluster_name, f"the context {self.context}"))
        user = (
            self._resolved("user", *self._of("users", user_name, f"the context {self.context}"))
            if user_name
            else dict[str, Any]()
        )
        server = str(cluster.get("server") or "")
        if not server.startswith(("http://", "https://")):
            raise _unusable(file, f"server of the cluster {cluster_name} is {server!r}, and not http(s)://host[:port]")
        if server.startswith("http://"):
            user = {}  # No credentials are sent where everybody can read them.
        account = f"the user {user_name or '(none)'} of the context {self.context} in {self._source}"
        settings = client.Configuration()
        token_file = user.pop("tokenFile", None)
        if token_file:
            user.pop("token", None)
        try:
            _Loader(cluster, user, account).load_and_set(settings)
        except StoreFailed:
            raise
        except Exception as error:  # What malformed content makes the client raise may be anything.
            raise _unusable(self._source, f"its context {self.context}: {_said(error)}") from None
        if token_file:
            settings.refresh_api_key_hook = _TokenFile(Path(token_file), account)
            settings.refresh_api_key_hook(settings)
        _require_certificates(settings, self._source, f"its cluster {cluster_name}", f"its user {user_name}")
        _use_proxy(settings, str(cluster.get("proxy-url") or ""), f"the cluster {cluster_name} in {self._source}")
        made = Cluster(settings, self.context, self._source, account)
        for header, value in self._impersonated(user, user_name).items():
            made.set_default_header(header, value)
        return made

    def _of(self, kind: str, name: str, wanted_by: str) -> tuple[str, dict[str, Any]]:
        try:
            return self._known[kind][name]
        except KeyError:
            known = ", ".join(sorted(self._known[kind])) or "none"
            raise _unusable(
                self._source, f"{wanted_by} names the {kind[:-1]} {name!r}, which is not there; there are: {known}"
            ) from None

    def _resolved(self, kind: str, file: str, value: Mapping[str, Any]) -> dict[str, Any]:
        folder = Path(file).absolute().parent
        paths = {field: str(folder / str(value[field])) for field in _PATHS[kind] if value.get(field)}
        resolved = {**value, **paths}
        plugin = value.get("exec")
        if isinstance(plugin, dict) and os.sep in str(plugin.get("command", "")):
            resolved["exec"] = {**plugin, "command": str(folder / str(plugin["command"]))}
        return resolved

    def _impersonated(self, user: Mapping[str, Any], name: str) -> dict[str, str]:
        for field in _GROUPS:
            if user.get(field):
                raise _unusable(self._source, f"its user {name} has {field}, which cloudedge does not know")
        headers = {"Impersonate-User": user.get("as"), "Impersonate-Uid": user.get("as-uid")}
        return {header: str(value) for header, value in headers.items() if value}


class _Loader(KubeConfigLoader):  # type: ignore[misc]  # kubernetes has no types.
    """The client's own way from a cluster and a user to settings."""

    def __init__(self, cluster: Mapping[str, Any], user: Mapping[str, Any], account: str) -> None:
        context = {"cluster": "cluster", "user": "user"}
        content = {
            "current-context": "context",
            "contexts": [{"name": "context", "context": context}],
            "clusters": [{"name": "cluster", "cluster": dict(cluster)}],
            "users": [{"name": "user", "user": dict(user)}],
        }
        super().__init__(content, config_base_path="")
        self._account = account

    def _load_from_exec_plugin(self) -> bool | None:
        """Ask a program for credentials; the client would log what is wrong with it, and go on as nobody.

        Raises:
            StoreFailed: it gives none.
        """
        if "exec" not in self._user:
            return None
        plugin = self._user["exec"]
        try:
            status = ExecProvider(plugin, "").run()
            if "token" in status:
                self.token = f"Bearer {status['token']}"
            else:
                self.cert_file, self.key_file = (
                    FileOrData(status, None, data_key_name=each, base64_file_content=False).as_file()
                    for each in ("clientCertificateData", "clientKeyData")
                )
            if not ("token" in status or (self.cert_file and self.key_file)):
                raise config.ConfigException("it gave neither a token nor a certificate with its key")
            if "expirationTimestamp" in status:
                self.expiry = parse_rfc3339(status["expirationTimestamp"])
        except Exception as error:  # What a program makes of it may be anything.
            hint = plugin.safe_get("installHint")
            raise StoreFailed(
                f"{plugin.safe_get('command')} gives no credentials for {self._account}: {_said(error)}. Renew its own "
                f"sign-in, or correct it there.{' ' + ' '.join(hint.split()) if hint else ''}"
            ) from None
        return True


class _TokenFile:
    """Takes a token from a file, which whoever keeps it may replace at any moment."""

    def __init__(self, path: Path, account: str) -> None:
        self._path = path
        self._account = account

    def __call__(self, settings: client.Configuration) -> None:
        """Take it anew.

        Raises:
            StoreFailed: there is none.
        """
        try:
            token = self._path.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            token, why = "", _said(error)
        else:
            why = "it is empty"
        if not token or not token.isascii() or not token.isprintable():
            raise StoreFailed(
                f"The token file {self._path} of {self._account} has no token: {why}. Renew it, or correct its path."
            )
        settings.api_key["authorization"] = f"Bearer {token}"


def _content(file: str) -> dict[str, Any]:
    try:
        content = yaml.safe_load(Path(file).read_text()) or {}
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise _unusable(file, _said(error)) from None
    if not isinstance(content, dict):
        raise _unusable(file, "it holds no fields")
    return content


def _items(file: str, content: Mapping[str, Any], kind: str) -> list[tuple[str, dict[str, Any]]]:
    """Names and values of the clusters, contexts or users of a file."""
    listed = content.get(kind) or []
    try:
        return [(str(each["name"]), dict(each.get(kind[:-1]) or {})) for each in listed]
    except (AttributeError, KeyError, TypeError, ValueError):
        raise _unusable(file, f"its {kind} are no list of names with a {kind[:-1]} each") from None


def _require_certificates(settings: client.Configuration, source: str, cluster: str, user: str) -> None:
    """Find out now what a connection would otherwise break off for.

    Raises:
        InvalidInput: a certificate or a key is none.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if settings.ssl_ca_cert:
            context.load_verify_locations(settings.ssl_ca_cert)
    except OSError as error:
        raise _unusable(source, f"certificate-authority of {cluster} is no certificate: {_said(error)}") from None
    try:
        if settings.cert_file:
            context.load_cert_chain(settings.cert_file, settings.key_file)
    except OSError as error:
        raise _unusable(source, f"client-certificate and client-key of {user} are no pair: {_said(error)}") from None


def _use_proxy(settings: client.Configuration, own: str, source: str) -> None:
    """Use the proxy that the kubeconfig names, for which NO_PROXY says nothing, or the environment's.

    Raises:
        InvalidInput: it cannot be used.
    """
    proxy = Proxy.parse(own, source) if own else proxy_for(settings.host)
    if proxy:
        settings.proxy, settings.proxy_headers = proxy.url, proxy.headers or None


def _unusable(file: str, why: str) -> InvalidInput:
    return InvalidInput(
        f"There is no cluster to talk to: {file} is no kubeconfig that can be used: {why.rstrip('.')}. "
        "Correct it, or KUBECONFIG."
    )


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:_MOST_SAID].rstrip(".")
