"""Kubeconfigs for tests."""

import json
from pathlib import Path
from typing import Any

CLUSTER, USER = {"server": "https://one:6443"}, {"token": "secret"}


def content(
    name: str, cluster: dict[str, Any] = CLUSTER, user: dict[str, Any] = USER, *, current: str | None = None
) -> dict[str, Any]:
    """A cluster, a user and a context of one name, which is the current one unless another is named."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name if current is None else current,
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
    }


def written(path: Path, name: str = "test", **said: Any) -> Path:
    """Such a file."""
    path.write_text(json.dumps(content(name, **said)))
    return path
