"""The Kubernetes API as we need it: asked again while it does not answer, and with our own errors."""

import json
import os
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import urllib3
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

from cloud.patience import Patience
from cloudedge.errors import Conflict, InvalidInput, NotFound, StoreFailed

TIMEOUT_SECONDS = (5, 60)
"""To connect, and for an answer."""

_PAGE = 500
_MOST_SAID = 300
"""Characters of what the client says of a kubeconfig."""
_PASSING = {0, 408, 429, 500, 502, 503, 504}
_REFUSALS = {401, 403}
_METADATA_ALONE = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"

T = TypeVar("T")


def connect() -> client.ApiClient:
    """The cluster that this process runs in, else that of the kubeconfig.

    Raises:
        InvalidInput: there is neither.
    """
    settings = client.Configuration()
    place = os.environ.get("KUBECONFIG") or "~/.kube/config"
    try:
        config.load_incluster_config(client_configuration=settings)
    except config.ConfigException:
        try:
            # Named, as the client would look up what the variable was when it was imported.
            config.load_kube_config(place, client_configuration=settings)
        except Exception as error:  # What a malformed file makes the client raise may be anything.
            why = " ".join(str(error).split())[:_MOST_SAID]
            raise InvalidInput(
                f"There is no cluster to talk to: {place} is no kubeconfig that can be used: {why.rstrip('.')}. "
                "Correct KUBECONFIG."
            ) from None
    settings.retries = False  # `_asked` knows what is worth another try, and for how long.
    settings.connection_pool_maxsize = 32
    return client.ApiClient(settings)


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

    def metadata(self, kind: str, selector: str) -> Iterator[tuple[str, dict[str, str]]]:
        """Names and labels of objects, a page at a time, without what is in them."""
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
            for item in page["items"] or ():
                yield item["metadata"]["name"], item["metadata"]["labels"]
            after = page["metadata"].get("continue", "")
            if not after:
                return

    def asked(self, purpose: str, ask: Callable[..., T], *arguments: Any, **options: Any) -> T:
        """Ask the API server, again and again while it does not answer.

        Raises:
            NotFound: there is no such object.
            Conflict: it exists, or was changed in the meantime.
            InvalidInput: it is too large for the API server.
            StoreFailed: the API server refuses, or did not answer for as long as there is patience.
        """
        patience = self.patience()
        refused = False
        while True:
            try:
                return ask(*arguments, **options, _request_timeout=TIMEOUT_SECONDS)
            except ApiException as error:
                # An API server that is starting does not know yet who may do what, and refuses everybody.
                starting = error.status in _REFUSALS and not (refused and self._ready())
                if error.status not in _PASSING and not starting:
                    raise self._refusal(purpose, error) from None
                refused = error.status in _REFUSALS
                failed = error
            except urllib3.exceptions.HTTPError as error:
                failed = error
            patience.wait(
                StoreFailed(
                    f"The cluster's API server does not answer when asked to {purpose}: {said(failed)}. "
                    "Check that it runs and can be reached."
                )
            )

    def patience(self) -> Patience:
        """For how long one thing is tried again here."""
        return Patience(self._patience)

    def _ready(self) -> bool:
        try:
            self.api.call_api("/readyz", "GET", auth_settings=["BearerToken"], _request_timeout=TIMEOUT_SECONDS)
        except (ApiException, urllib3.exceptions.HTTPError):
            return False
        return True

    def _refusal(self, purpose: str, error: ApiException) -> Exception:
        message = f"It was not possible to {purpose} in namespace {self.name}: {said(error)}."
        kinds = {404: NotFound, 409: Conflict, 413: InvalidInput, 422: InvalidInput}
        remedies = {
            401: " Renew the credentials in the kubeconfig.",
            403: f" Give this account {self._rights} there; see docs/guide-administrator.md.",
            413: " Cancel some tasks first.",
            422: " Cancel some tasks first.",
        }
        return kinds.get(error.status, StoreFailed)(message + remedies.get(error.status, ""))


def said(error: Exception) -> str:
    """What the API server said, in one line."""
    if isinstance(error, ApiException):
        try:
            return f"{error.status}: {json.loads(error.body or '{}')['message']}"
        except (KeyError, TypeError, ValueError):
            return f"{error.status}: {error.reason}"
    return " ".join(str(error).split())
