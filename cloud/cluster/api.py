"""The Kubernetes API as we need it: asked again while it does not answer, and with our own errors."""

import copy
import json
import re
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import urllib3
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from cloud.cluster.kubeconfig import Cluster, connect, is_of_an_api_server, no_api_server, said_by, trusting
from cloud.cluster.where import Where
from cloud.patience import Patience
from cloudedge.errors import CloudedgeError, Conflict, InvalidInput, NotFound, StoreFailed
from cloudedge.network import Obstacle, trouble_of, wants_tls

__all__ = ["TIMEOUT_SECONDS", "Namespace", "Refused", "connect", "said"]

TIMEOUT_SECONDS = (5, 60)
"""To connect, and for an answer."""

_PAGE = 500
_PASSING = {0, 408, 429, 500, 502, 503, 504}
_REFUSALS = {401, 403}
_METADATA_ALONE = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"

_OF_RIGHTS = re.compile(r'User "[^"]*" cannot ')
"""In what the API server says where an account lacks a right; what else it forbids is a rule of the cluster's."""
_NOBODY = 'User "system:anonymous" '
_ENDING = "because it is being terminated"

_REMEDIES = {
    Obstacle.AUTHORITY: "Correct certificate-authority of its cluster in {source}.",
    Obstacle.NAME: "Correct server in {source}, or set tls-server-name there to the name that is in the certificate.",
    Obstacle.EXPIRED: "Renew the API server's certificate, or set the clock here.",
    Obstacle.EARLY: "Set the clock here.",
    Obstacle.PLAIN: "Correct server in {source}: its port, or http:// for https://.",
    Obstacle.CLIENT: "Renew the client-certificate of {account}.",
    Obstacle.HOST: "Correct server in {source}.",
    Obstacle.PROXY: "Correct HTTPS_PROXY, NO_PROXY, or proxy-url in {source}.",
}

T = TypeVar("T")


class Namespace:
    """One namespace of a cluster."""

    def __init__(
        self, name: str, api: client.ApiClient, patience_seconds: float, rights: str = "the role 'cloudedge-dispatch'"
    ) -> None:
        """Ask the cluster for nothing yet.

        Args:
            name: The namespace's.
            api: The cluster.
            patience_seconds: How long an API server that does not answer is asked again, in seconds.
            rights: What an account needs for what is asked here, for whom it is refused.
        """
        self.name = name
        self.api = api
        self._patience = patience_seconds
        self._rights = rights

    @property
    def where(self) -> Where:
        """Which namespace of which cluster this is."""
        return Where(self.api.configuration.host, self.api.context if isinstance(self.api, Cluster) else "", self.name)

    def metadata(self, kind: str, selector: str = "") -> Iterator[dict[str, Any]]:
        """The metadata of objects, a page at a time, without what is in them."""
        path = f"/api/v1/namespaces/{self.name}/{kind}"
        after = ""
        while True:
            query = {"labelSelector": selector, "limit": str(_PAGE), **({"continue": after} if after else {})}
            page = self.asked(
                f"list {kind}",
                self.api.call_api,
                path,
                "GET",
                query_params=list(query.items()),
                header_params={"Accept": _METADATA_ALONE},
                auth_settings=["BearerToken"],
                response_type="object",
                _return_http_data_only=True,
            )
            for item in page.get("items") or ():
                yield item["metadata"]
            after = page["metadata"].get("continue")
            if not after:
                return

    def require(self) -> None:
        """Find out whether there is such a namespace, as far as this account may: a listing of one that is not is empty.

        Raises:
            NotFound: there is none.
            StoreFailed: the API server does not answer.
        """
        core = client.CoreV1Api(self.api)
        body = {"metadata": {"generateName": "cloudedge-"}}
        for look in (
            lambda **options: core.read_namespace(self.name, **options),
            lambda **options: core.create_namespaced_config_map(self.name, body, dry_run="All", **options),
        ):
            try:
                self.asked(f"look for namespace {self.name}", look)
            except NotFound:
                raise NotFound(
                    f"There is no {self.where}: correct CLOUDEDGE_INBOXES (the manifests make cloudedge-edges), or KUBECONFIG."
                ) from None
            except (Refused, InvalidInput):
                continue  # Who may not look at namespaces may perhaps make something in one.
            return

    def asked(self, purpose: str, ask: Callable[..., T], *arguments: Any, rights: str = "", **options: Any) -> T:
        """Ask the API server, again and again while it does not answer.

        Args:
            purpose: What it is asked to do, for messages.
            ask: Asks it once.
            arguments: For `ask`.
            rights: What an account needs for this; empty: as for all that is asked here.
            options: For `ask`.

        Raises:
            NotFound: there is no such object.
            Conflict: it exists, or was changed in the meantime.
            InvalidInput: the API server cannot use it.
            StoreFailed: the API server refuses, or did not answer for as long as there is patience.
        """
        patience = self.patience()
        ready = False
        while True:
            try:
                return ask(*arguments, **options, _request_timeout=TIMEOUT_SECONDS)
            except (ApiException, urllib3.exceptions.HTTPError) as error:
                trouble = trouble_of(error)
                if trouble and trouble.obstacle.certain:
                    raise self._unreachable(trouble.obstacle, error) from None
                status = error.status if isinstance(error, ApiException) else 0
                failure: CloudedgeError = self._silence(purpose, error)
                if isinstance(error, ApiException) and status not in _PASSING:
                    failure = self._refusal(purpose, error, rights)
                    if ready or not (status in _REFUSALS and is_of_an_api_server(error.body)):
                        raise failure from None
                    # An API server that is starting does not know yet who may do what, and refuses everybody.
                    ready = self._ready(status)
                    if ready:
                        continue
                else:
                    ready = False
            patience.wait(failure)

    def patience(self) -> Patience:
        """For how long one thing is tried again here."""
        return Patience(self._patience)

    def _ready(self, refusal: int) -> bool:
        """Whether the API server is: one that knows nobody tells so those whom it does not ask for a name."""
        if refusal == 401:
            return self._is_ready_for(_without_credentials(self.api))
        return self._is_ready_for(self.api) or self._is_ready_for(_without_credentials(self.api))

    def _is_ready_for(self, api: client.ApiClient) -> bool:
        try:
            api.call_api("/readyz", "GET", auth_settings=["BearerToken"], _request_timeout=TIMEOUT_SECONDS)
        except (ApiException, urllib3.exceptions.HTTPError):
            return False
        return True

    def _silence(self, purpose: str, error: Exception) -> StoreFailed:
        does = "does not answer" if not isinstance(error, ApiException) or not error.status else "does not do its work"
        proxy = (self.api.configuration.proxy or "").rpartition("@")[2]
        return StoreFailed(
            f"The cluster's API server {self.where.server} {does} when asked to {purpose}"
            f"{f' over the proxy {proxy}' if proxy else ''}: {said(error)}. "
            "Check that it runs and can be reached."
        )

    def _unreachable(self, obstacle: Obstacle, error: Exception) -> StoreFailed:
        remedy = _REMEDIES[obstacle].format(source=self._source, account=self._account)
        return StoreFailed(
            f"The cluster's API server {self.where.server} cannot be asked: {obstacle.value} ({said(error)}). {remedy}"
        )

    def _refusal(self, purpose: str, error: ApiException, rights: str) -> CloudedgeError:
        if not is_of_an_api_server(error.body):
            if wants_tls(error.body or ""):
                return StoreFailed(
                    f"The cluster's API server {self.where.server} speaks https: write https:// in {self._source}."
                )
            return no_api_server(self.where.server, self._source, f"{error.status}, {said_by(error.body) or error.reason}")
        kinds = {
            400: InvalidInput,
            401: _Unknown,
            403: Refused,
            404: NotFound,
            409: Conflict,
            413: InvalidInput,
            422: InvalidInput,
        }
        words = said(error)
        message = f"It was not possible to {purpose} in {self.where}: {words}."
        return kinds.get(error.status, StoreFailed)(f"{message} {self._remedy(error.status, words, rights)}".rstrip())

    def _remedy(self, status: int, words: str, rights: str) -> str:
        match status:
            case 401:
                return f"Renew the credentials of {self._account}."
            case 403 if _NOBODY in words:
                return f"Give credentials to {self._account}: it has none."
            case 403 if _OF_RIGHTS.search(words):
                return (
                    f"Give this account {rights or self._rights} (see docs/guide-administrator.md), or name another "
                    "namespace or context."
                )
            case 403 if _ENDING in words:
                return "Name another namespace, or make it anew once it is gone."
            case 404 if words.startswith("404: namespaces "):
                return "Correct CLOUDEDGE_INBOXES (the manifests make cloudedge-edges), or KUBECONFIG."
            case 400 | 403 | 422:
                return "Correct what it names, or have the cluster's rule changed."
            case 413:
                return "Make it smaller."
        return ""

    @property
    def _source(self) -> str:
        return self.api.source if isinstance(self.api, Cluster) else "the kubeconfig"

    @property
    def _account(self) -> str:
        return self.api.account if isinstance(self.api, Cluster) else "the user in the kubeconfig"


class Refused(StoreFailed):
    """This account may not do it."""


class _Unknown(StoreFailed):
    """The API server does not know who asks. It answers, so that this is no `Away` when patience ends."""


def _without_credentials(api: client.ApiClient) -> client.ApiClient:
    settings = copy.copy(api.configuration)
    settings.api_key, settings.refresh_api_key_hook, settings.cert_file, settings.key_file = {}, None, None, None
    return trusting(client.ApiClient(settings))


def said(error: Exception) -> str:
    """What the API server said, in one line."""
    if not isinstance(error, ApiException) or not error.status:
        text = str(error.reason) if isinstance(error, ApiException) else str(error)
        return " ".join(text.split()).rstrip(".")
    try:
        message = " ".join(str(json.loads(error.body or "{}")["message"]).split())
    except (KeyError, TypeError, ValueError):
        message = str(error.reason)
    return f"{error.status}: {message.rstrip('.')}"
