"""The container images that users get, built for real: `make images` with buildah, on a base image made here.

PyTorch is not in them, as its build for CUDA is ten times as large as all the rest: containers that train mount it from here.

    python -m tests.cluster.images         build all
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cloudedge import __version__
from tests.cluster.debian import base
from tests.cluster.kept import digest_of, kept
from tests.cluster.tools import ToolMissing, missing

ROOT = Path(__file__).parents[2]
TARGETS = ("edge", "cloud")
_RECIPE = ("manifests/images/Containerfile", ".dockerignore", "requirements-uv.lock")
_LIBRARIES = ("requirements-cloud.lock", "requirements-edge.lock")
_SOURCES = ("Makefile", "cloud", "cloudedge", "components", "edge", "pipelines")
_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
_TRUST = ("--volume", f"{_CERTIFICATES}:{_CERTIFICATES}:ro")
"""Whoever this machine trusts is trusted while an image is built."""


def name(target: str) -> str:
    """An image's name as a node completes the one in the manifests."""
    return f"docker.io/cloudedge/{target}:{__version__}"


def archive(target: str) -> Path:
    """An image, under its name, in a file for `ctr --namespace k8s.io images import`.

    Args:
        target: edge or cloud.

    Raises:
        ToolMissing: what builds and runs images is not here; or this machine is no Debian.
        subprocess.CalledProcessError: the build failed; it has said why.
    """
    _check()
    under = base()
    parts = digest_of(ROOT / part for part in (*_RECIPE, *_LIBRARIES, *_SOURCES))
    return kept(target, f"{under.name} {parts}", lambda path: _build(target, under, path))


def pytorch() -> Path:
    """A folder with PyTorch as locked and nothing else, to be mounted at /opt/pytorch or to be named in PYTHONPATH.

    Raises:
        ToolMissing: what builds and runs images is not here; or this machine is no Debian.
        subprocess.CalledProcessError: the installation failed; uv has said why.
    """
    _check()
    python, lock = (base() / "python").read_text(), ROOT / "requirements-torch.lock"

    def install(path: Path) -> None:
        command = [uv(), "pip", "install", "--quiet", "--python", sys.executable, "--python-version", python]
        _run(
            [*command, "--target", str(path), "--compile-bytecode", "--no-deps", "--require-hashes", "--requirement", str(lock)]
        )

    return kept("pytorch", f"{python} {digest_of([lock])}", install)


def pods_pytorch(container: str) -> dict[str, Any]:
    """What has a pod's container find that PyTorch: a part of the pod's specification; see `pytorch`."""
    volume = {"name": "pytorch", "hostPath": {"path": os.fspath(pytorch()), "type": "Directory"}}
    mount = {"name": "pytorch", "mountPath": "/opt/pytorch", "readOnly": True}
    return {"volumes": [volume], "containers": [{"name": container, "volumeMounts": [mount]}]}


def build_upon(target: str, folder: Path, own_name: str, path: Path) -> None:
    """Write the archive of an image that a user's Containerfile makes upon one of ours, which it takes as IMAGE.

    Args:
        target: edge or cloud.
        folder: The Containerfile's.
        own_name: The new image's name.
        path: The new archive.

    Raises:
        ToolMissing: see `archive`.
        subprocess.CalledProcessError: the build failed; it has said why.
    """
    ours = archive(target)
    with TemporaryDirectory(dir=path.parent) as storage:
        environment = {**os.environ, "BUILDAH_ISOLATION": "chroot", "TMPDIR": storage}
        recipe = ["--quiet", *_TRUST, "--build-arg", f"IMAGE=docker-archive:{ours}", "--tag", own_name]
        _run([*_buildah(Path(storage)), "build", *recipe, "--file", f"{folder}/Containerfile", str(folder)], environment)
        _run([*_buildah(Path(storage)), "push", "--quiet", own_name, f"docker-archive:{path}:{own_name}"], environment)


def _buildah(storage: Path) -> list[str]:
    # What it mounts ends with it, also when it fails.
    return ["unshare", "--mount", "buildah", "--root", f"{storage}/root", "--runroot", f"{storage}/run"]


def _check() -> None:
    ways = missing(["images"])
    if ways:
        raise ToolMissing(f"Images are not built here. To build them: {', then '.join(ways)}")


def uv() -> str:
    """The program that installs Python packages.

    Raises:
        ToolMissing: it is not here.
    """
    own = sorted((ROOT / ".tools").glob("uv-*/bin/uv"))
    found = str(own[-1]) if own else shutil.which("uv")
    if not found:
        raise ToolMissing("uv is not here: make setup")
    return found


def _build(target: str, under: Path, path: Path) -> None:
    """Build an image and write it to a file; its layers stay in a storage for the next time."""
    recipe = digest_of(ROOT / part for part in (*_RECIPE, *_LIBRARIES))
    storage = kept("storage", f"{under.name} {recipe}", Path.mkdir)
    buildah = _buildah(storage)
    with TemporaryDirectory(dir=storage) as downloads:
        environment = {**os.environ, "BUILDAH_ISOLATION": "chroot", "TMPDIR": downloads}

        def call(*arguments: str) -> str:
            return _run([*buildah, *arguments], environment)

        def images(reference: str) -> str:
            return call("images", "--quiet", "--no-trunc", "--filter", f"reference={reference}")

        if not images("localhost/base"):
            container = call("from", "scratch")
            call("add", "--quiet", container, f"{under}/root.tar", "/")
            call("commit", "--quiet", "--rm", container, "localhost/base")
        before = images(name(target))
        arguments = {
            "BUILDER": " ".join(buildah),
            "IMAGES": target,
            "BASE": "localhost/base",
            "PYTORCH": "none",
            "BUILD_FLAGS": " ".join(("--quiet", "--layers", *_TRUST)),
        }
        _run(["make", "--directory", str(ROOT), "images", *(f"{key}={value}" for key, value in arguments.items())], environment)
        call("push", "--quiet", name(target), f"docker-archive:{path}:{name(target)}")
        if before not in ("", images(name(target))):
            call("rmi", before)


def _run(command: list[str], environment: dict[str, str] | None = None) -> str:
    return subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    for each in (*(archive(target) for target in TARGETS), pytorch()):
        print(each)
