import json
import subprocess
from pathlib import Path

from cloudedge.automl.meta.shipping import TABLES, read_table
from cloudedge.automl.meta.table import Table
from cloudedge.documents.base import parse
from cloudedge.interpreter import python


def test_the_benchmark_of_searching_returns_no_model_that_breaks_a_limit(tmp_path: Path) -> None:
    out = tmp_path / "search.json"
    command = python("benchmarks.automl_search", "--seeds", "0", "--tasks", "3", "--quick", "--out", out)
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    tables = json.loads(out.read_text())["tables"]
    assert set(tables) == {"drawn meters", "handwritten digits"}
    for found in tables.values():
        oracle = found["oracle"]["accuracy"]
        ours = found["meta model and screen, 3 trials"]
        assert ours["broken"] == 0
        assert ours["trained"] <= 3
        assert all(figures["accuracy"] <= oracle for figures in found.values())


def test_the_benchmark_of_a_meta_model_trained_anew_compares_it_with_the_one_before(tmp_path: Path) -> None:
    out = tmp_path / "meta.json"
    command = python("benchmarks.automl_meta", "--tasks", "3", "--searches", "5", "--quick", "--out", out)
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    for found in json.loads(out.read_text())["tables"].values():
        assert list(found)[:2] == ["the meta model of other samples", "one trained anew from 5 of its searches"]
        assert max(found.values()) == found["oracle"]


def test_a_table_that_was_cut_goes_on_and_trains_as_those_that_come_along(tmp_path: Path) -> None:
    out = tmp_path / "digits.json"
    asked = ["digits", out, "--seeds", "0", "--losses", "cross-entropy"]
    subprocess.run(python("benchmarks.automl_table", *asked, "--most", "1"), check=True)
    notes = out.with_suffix(".notes")
    (first,) = notes.read_text().splitlines()
    subprocess.run(python("benchmarks.automl_table", *asked, "--most", "2"), check=True)
    assert notes.read_text().splitlines()[0] == first
    assert len(notes.read_text().splitlines()) == 2
    table, known = parse(Table, out.read_bytes(), str(out)), read_table(TABLES[1])
    assert table.candidates == known.candidates[:2]
    near = zip(table.columns[0].accuracies, known.columns[0].accuracies[:2], strict=True)
    assert all(abs(one - other) < 0.05 for one, other in near)
