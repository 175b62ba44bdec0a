"""Where edges are, as answers name it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Where:
    """A namespace of a cluster.

    Attributes:
        server: The API server's address.
        context: The kubeconfig's context; empty: the account of this pod.
        namespace: The namespace's name.
    """

    server: str
    context: str
    namespace: str

    def __str__(self) -> str:
        """In words."""
        return f"namespace {self.namespace} of {self.server} ({f'context {self.context}' if self.context else 'this cluster'})"
