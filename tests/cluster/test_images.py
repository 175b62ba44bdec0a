"""What is in the images that users get, and what is not."""

import json
import re
import tarfile
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

import pytest
from packaging.requirements import Requirement

from cloud.fleet.enrolment import USER
from cloudedge import __version__
from tests.cluster import images
from tests.cluster.containers import Container, Containerd
from tests.cluster.debian import base

pytestmark = [pytest.mark.timeout(1200), pytest.mark.usefixtures("containerd")]
targets = pytest.mark.parametrize("target", images.TARGETS)

EDGE_MIB = 395
"""The most that the edge image may add to its base, PyTorch aside.

Half of it is what a production line needs (onnxruntime, onnx, gRPC), and an edge without one does not load it; a tenth is
Optuna with its database, which leads a search where no meta model may.
"""


def read(target: str, name: str) -> Any:
    """A JSON file of an image's archive."""
    with tarfile.open(images.archive(target)) as archive:
        content = archive.extractfile(name)
        assert content is not None
        return json.load(content)


def manifest(target: str) -> Any:
    (found,) = read(target, "manifest.json")
    return found


def layers(target: str) -> Iterator[tuple[int, list[str]]]:
    """Bytes and files of each layer, from the base on."""
    names = manifest(target)["Layers"]
    with tarfile.open(images.archive(target)) as archive:
        for name in names:
            with tarfile.open(fileobj=archive.extractfile(name)) as layer:
                yield archive.getmember(name).size, layer.getnames()


def locked(target: str) -> set[str]:
    """What the target's lock asks for in the image."""
    text = (images.ROOT / f"requirements-{target}.lock").read_text()
    python = (base() / "python").read_text()
    asked = map(Requirement, re.findall(r"^([a-z0-9-]+==.*?) \\$", text, re.MULTILINE))
    place = {"python_version": python, "python_full_version": f"{python}.0", "sys_platform": "linux"}
    return {f"{each.name}{each.specifier}" for each in asked if each.marker is None or each.marker.evaluate(place)}


@targets
def test_an_image_holds_just_what_its_lock_names(containerd: Containerd, target: str) -> None:
    code = "import importlib.metadata as m; print(*(f'{each.name}=={each.version}' for each in m.distributions()))"

    said = containerd.run(Container(images.name(target), ["python", "-c", code])).stdout

    assert {re.sub("[-_.]+", "-", name).lower() + version for name, version in re.findall(r"(\S+?)(==\S+)", said)} == locked(
        target
    )


def test_the_edges_image_has_nothing_of_the_clouds(containerd: Containerd) -> None:
    code = "import pkgutil; print(*(module.name for module in pkgutil.iter_modules()))"

    said = containerd.run(Container(images.name("edge"), ["python", "-c", code])).stdout

    assert {"cloudedge", "edge", "numpy"} <= set(said.split())
    assert not {"cloud", "components", "pipelines", "kfp", "kubernetes", "matplotlib", "minio", "mlflow", "sklearn"} & set(
        said.split()
    )


@targets
def test_what_built_an_image_is_not_in_it(containerd: Containerd, target: str) -> None:
    tools = "for tool in uv gcc cc make git ruff mypy pytest jupyter; do command -v $tool; done"
    files = {name for _, names in layers(target) for name in names}

    assert containerd.run(Container(images.name(target), ["sh", "-c", tools])).stdout == ""
    assert not {name for name in files if re.match(r"locks|opt/uv|root/\.|tmp/.|opt/.*/tests$", name)} - {
        "root/.bashrc",
        "root/.profile",
    }
    assert {PurePath(name).parts[1] for name in files if name.startswith("opt/")} == {"cloudedge", "pytorch"}


def test_the_edges_image_adds_little_to_its_base() -> None:
    _, *added = (size for size, _ in layers("edge"))

    assert sum(added) / 2**20 < EDGE_MIB


@targets
def test_every_source_is_compiled_as_nothing_can_be_compiled_later(target: str) -> None:
    files = {PurePath(name) for _, names in layers(target) for name in names}
    # A module's name may have dots in it, as those of migrations of databases do.
    compiled = {
        file.parent.parent / re.sub(r"\.cpython-\d+\.pyc$", ".py", file.name) for file in files if file.suffix == ".pyc"
    }
    modules = {
        file for file in files if file.suffix == ".py" and re.match(r"opt/cloudedge/(lib|src)/|usr/lib/python3", str(file))
    }

    assert len(modules) > 3000
    assert modules <= compiled


@targets
def test_an_image_says_what_it_is(target: str) -> None:
    found = read(target, manifest(target)["Config"])["config"]

    labels = {
        name.rpartition(".")[2]: value for name, value in found["Labels"].items() if name.startswith("org.opencontainers.")
    }
    assert manifest(target)["RepoTags"] == [f"docker.io/cloudedge/{target}:{__version__}"]
    assert labels["title"] == f"cloudedge {target}"
    assert labels["version"] == __version__
    assert re.fullmatch("[0-9a-f]{40}", labels["revision"])
    assert found["User"] == f"{USER}:{USER}"
