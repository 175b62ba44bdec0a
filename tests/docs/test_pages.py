"""What the pages name is there: files, headings, options, commands, fields, rules."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from cloud.fusion.rule import rule_names
from cloudedge.documents import DataFormat, TrainingTask, parse
from cloudedge.documents.automl import DeviceDescription
from cloudedge.documents.base import Part
from cloudedge.documents.detector import DetectorConfiguration
from cloudedge.documents.sweep import SweepFile
from edge.tools.commands import app as edge_app
from pipelines.commands.app import COMMANDS, Commands
from pipelines.commands.app import app as cloud_app
from tests.docs.pages import PAGES, ROOT, anchors, blocks, links, prose

ids = [page.relative_to(ROOT).as_posix() for page in PAGES]


def options(command: Any, name: str) -> Iterator[tuple[str, set[str]]]:
    """Options of a command and of all below it, by its words."""
    yield name, {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}
    for child, below in getattr(command, "commands", {}).items():
        yield from options(below, f"{name} {child}")


@pytest.fixture(scope="module")
def known() -> dict[str, set[str]]:
    """Options by command."""
    commands = typer.main.get_command(cloud_app)
    assert isinstance(commands, Commands)
    for name in COMMANDS:
        commands.load(name)
    found = dict(options(commands, "cloudedge"))
    found |= dict(options(typer.main.get_command(edge_app), "cloudedge-edge"))
    shown = subprocess.run(
        [sys.executable, "-m", "edge.runner", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    found["cloudedge-edge run"] = set(re.findall(r"--[a-z-]+", shown.stdout))
    return found


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in links(page):
        place, _, anchor = link.partition("#")
        target = (page.parent / place).resolve() if place else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_every_command_and_option_that_a_page_names_exists(page: Path, known: dict[str, set[str]]) -> None:
    code = [
        line.removeprefix("$ ")
        for block in blocks(page)
        if block.language in ("console", "sh")
        for line in block.text.splitlines()
    ]
    for line in [*code, *re.findall(r"`([^`]+)`", prose(page))]:
        for call in re.findall(r"cloudedge(?:-edge)? [a-z][^|;]*", line):
            name = max((name for name in known if f"{call} ".startswith(f"{name} ")), key=len, default="")
            assert " " in name, f"there is no command {call!r}"
            assert set(re.findall(r"(?<=\s)--?[a-z][a-z-]*", call)) <= known[name], call
    everything = set.union(*known.values())
    for option in re.findall(r"`(--[a-z-]+)", prose(page)):
        assert option in everything, option


def test_every_target_that_a_page_makes_is_in_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    made = {target for page in PAGES for target in re.findall(r"make ([a-z]+)[`\n]", page.read_text())}

    assert {"demo", "test"} <= made <= targets


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_every_json_is_a_document(page: Path) -> None:
    known: dict[str, type[Part]] = {
        "busy_watts": DeviceDescription,
        "data": TrainingTask,
        "over": SweepFile,
        "source": DetectorConfiguration,
    }
    for block in blocks(page):
        value = json.loads(block.text) if block.language == "json" else {}
        if value and "kind" not in value:  # A task of another system is run where its page is read.
            document = next((document for field, document in known.items() if field in value), DataFormat)
            parse(document, block.text, str(block))


def test_the_guide_names_every_fusion_rule_and_no_other() -> None:
    page = (ROOT / "docs" / "guide-ml-engineer.md").read_text().partition("## Fusion rules")[2]
    named = {name for row in re.findall(r"^\| (`.*?) \|", page, re.MULTILINE) for name in re.findall(r"`([a-z-]+)`", row)}

    assert named == set(rule_names())


def test_the_guide_names_every_field_of_a_task() -> None:
    page = (ROOT / "docs" / "guide-ml-engineer.md").read_text()

    def names(schema: dict[str, object]) -> Iterator[str]:
        for part in (schema, *schema.get("$defs", {}).values()):  # type: ignore[attr-defined]
            yield from part.get("properties", {})

    for name in set(names(TrainingTask.model_json_schema())) - {"schema_version"}:
        assert re.search(rf'[`"]{name}[`"]|`[^`]*\.{name}`', page), name
