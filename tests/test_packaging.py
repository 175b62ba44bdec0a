"""The wheel holds the four rooms and nothing else, and the locks hold what pyproject.toml asks for."""

import re
import subprocess
import sys
import tomllib
import zipfile
from email import message_from_string
from itertools import chain
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from trove_classifiers import classifiers

from cloud.image import CLOUD_IMAGE, EDGE_IMAGE
from cloudedge import __version__

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    built = subprocess.run(command, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def test_the_wheel_holds_the_four_rooms_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    top = {name.split("/")[0] for name in wheel.namelist()}

    assert {name for name in top if not name.endswith(".dist-info")} == {
        "cloudedge",
        "cloud",
        "components",
        "pipelines",
        "edge",
    }


def test_the_wheel_holds_every_source_page_and_compiled_pipeline_of_the_rooms(wheel: zipfile.ZipFile) -> None:
    rooms = ("cloudedge", "cloud", "components", "pipelines", "edge")
    endings = (".py", ".yaml", ".html", ".css", ".js", ".svg")
    sources = {str(path.relative_to(ROOT)) for room in rooms for path in (ROOT / room).rglob("*") if path.suffix in endings}

    assert {name for name in wheel.namelist() if name.endswith(endings)} == sources


def test_the_wheel_cannot_be_uploaded_by_mistake_and_brings_two_commands(wheel: zipfile.ZipFile) -> None:
    (metadata,) = (wheel.read(name).decode() for name in wheel.namelist() if name.endswith("/METADATA"))
    (commands,) = (wheel.read(name).decode() for name in wheel.namelist() if name.endswith("/entry_points.txt"))

    assert "Classifier: Private :: Do Not Upload" in metadata
    assert set(re.findall(r"^(\S+) = ", commands, re.MULTILINE)) >= {"cloudedge", "cloudedge-edge"}


def test_the_wheel_says_what_it_is_and_brings_its_license(wheel: zipfile.ZipFile) -> None:
    (name,) = (name for name in wheel.namelist() if name.endswith("/METADATA"))
    metadata = message_from_string(wheel.read(name).decode())

    assert metadata["Name"] == "cloudedge"
    assert metadata["Version"] == __version__
    assert metadata["Summary"] == PROJECT["project"]["description"]
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata.get_payload() == (ROOT / "README.md").read_text()
    assert "federated learning" in metadata["Keywords"].split(",")
    assert set(metadata.get_all("Classifier", [])) <= {*classifiers, "Private :: Do Not Upload"}
    license_text = wheel.read(name.replace("METADATA", "licenses/LICENSE")).decode()
    assert license_text == (ROOT / "LICENSE").read_text()
    assert "Apache License\n                           Version 2.0, January 2004" in license_text


def test_the_changelog_and_the_citation_are_of_this_version() -> None:
    (newest, *_) = re.findall(r"^## (\d\S+) - \d{4}-\d\d-\d\d$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())

    assert newest == citation["version"] == PROJECT["project"]["version"] == __version__
    assert citation["license"] == PROJECT["project"]["license"]
    assert citation["authors"] == PROJECT["project"]["authors"]


def test_the_locks_hold_what_the_project_asks_for() -> None:
    text = "".join((ROOT / name).read_text() for name in ("requirements.lock", "requirements-torch.lock"))
    pins: dict[str, list[str]] = {}
    for name, version in re.findall(r"^([a-z0-9-]+)==(\S+)", text, re.MULTILINE):
        pins.setdefault(name, []).append(version)
    project = PROJECT["project"]
    asked = [
        *project["dependencies"],
        *chain.from_iterable(project["optional-dependencies"].values()),
        *PROJECT["dependency-groups"]["dev"],
    ]

    for line in asked:
        requirement = Requirement(line)
        if requirement.name == project["name"]:  # What one extra has of another.
            continue
        assert any(version in requirement.specifier for version in pins.get(requirement.name.lower(), [])), (
            f"{line}: run `make lock`"
        )


def test_the_build_is_locked_too() -> None:
    assert set(PROJECT["build-system"]["requires"]) <= set(PROJECT["dependency-groups"]["dev"])


def test_everything_names_the_images_of_this_version() -> None:
    places = [*(ROOT / "manifests").rglob("*.yaml"), *(ROOT / "pipelines").glob("*.yaml")]
    named = {name for place in places for name in re.findall(r"image: (cloudedge/\S+)", place.read_text())}

    assert named == {f"cloudedge/cloud:{__version__}"}
    assert CLOUD_IMAGE in named
    assert f"cloudedge/edge:{__version__}" == EDGE_IMAGE


def test_the_makefile_installs_the_uv_that_is_locked() -> None:
    (version,) = re.findall(r"^UV_VERSION := (\S+)", (ROOT / "Makefile").read_text(), re.MULTILINE)

    assert f"\nuv=={version} " in (ROOT / "requirements-uv.lock").read_text()
