"""CSV and JSON lines as people and their tools write them, and the messages that help to mend them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from cloudedge.data import read_records
from cloudedge.data.storages import text
from cloudedge.documents import DataFormat, SampleField
from cloudedge.errors import InvalidSamples

FIELDS = (SampleField(name="light"), SampleField(name="distance", shape=(2,), dtype="int16"))
CSV = DataFormat(storage="csv", fields=FIELDS, classes=("day", "night"))
JSON = DataFormat(storage="json-lines", fields=FIELDS, classes=("day", "night"))


def read_csv(tmp_path: Path, content: str | bytes) -> list[tuple[float, list[int], int]]:
    return _read(tmp_path / "samples.csv", content, CSV)


def read_json(tmp_path: Path, content: str | bytes) -> list[tuple[float, list[int], int]]:
    return _read(tmp_path / "samples.jsonl", content, JSON)


def _read(file: Path, content: str | bytes, data: DataFormat) -> list[tuple[float, list[int], int]]:
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return [
        (record.values["light"].item(), record.values["distance"].tolist(), record.label) for record in read_records(file, data)
    ]


@pytest.mark.parametrize(
    "content",
    [
        "light,distance_0,distance_1,label\n0.5,1,2,night\n",
        "label,distance_1,light,distance_0\nnight,2,0.5,1\n",
        "light,distance_0,distance_1,label\r\n0.5,1,2,1\r\n",
        "time,light,distance_0,distance_1,label\n2024-05-01,5e-1,1.0,+2,night",
        "\ufefflight, distance_0, distance_1, label\n 0.5, 1, 2, night\n\n",
        'light,distance_0,distance_1,label\n"0.5","1","2","night"\n',
        "light,distance_0,distance_1,label\r0.5,1,2,night\r",
        "light,distance_0,distance_1,label,\n0.5,1,2,night,\n",
        "light,distance_0,distance_1,label,,\n0.5,1,2,night,,\n,,,,,\n",
        "light,distance_0,distance_1,label\n0.5,1,2,night,\n",
        "light,distance_0,distance_1,label,\n0.5,1,2,night\n",
        ",light,distance_0,distance_1,label,note,note\n0,0.5,1,2,night,a;b,c\n",
        '\ufeff"light","distance_0","distance_1","label"\r\n0.5,1,2,night\r\n',
    ],
    ids=[
        "plain",
        "another order",
        "Windows",
        "further column",
        "spaces and byte-order mark",
        "quoted",
        "old Macintosh",
        "an empty column at the end",
        "empty columns and rows at the end",
        "rows end with a comma",
        "the header ends with a comma",
        "numbered rows and further columns of one name",
        "byte-order mark before a quote",
    ],
)
def test_csv_in_the_forms_that_programs_write(tmp_path: Path, content: str) -> None:
    assert read_csv(tmp_path, content) == [(0.5, [1, 2], 1)]


def test_a_csv_header_alone_holds_no_samples(tmp_path: Path) -> None:
    assert read_csv(tmp_path, "light,distance_0,distance_1,label\n") == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"line 1, the file is empty; begin with a header: 'light,distance_0,distance_1,label'"),
        ("light,distance_0,label\n", r"line 1, the header lacks distance_1; found 'light, distance_0, label'; add it, or"),
        ("light,distance_0,distance_1,label,light\n", r"line 1, column 'light' stands in the header twice; remove one"),
        ("light,distance_0,distance_1,label\n1,2\n", r"line 2, found 2 cells, but the header has 4"),
        (
            "light,distance_0,distance_1,label\n1,2,3,day\n1,x,3,day\n",
            r"line 3, column 'distance_0': found 'x'; write a number",
        ),
        ("light,distance_0,distance_1,label\n,2,3,day\n", r"line 2, column 'light': found ''; write a number"),
        ("light,distance_0,distance_1,label\n1_0,2,3,day\n", r"line 2, column 'light': found '1_0'; write a number"),
        ("light,distance_0,distance_1,label\n1,2,40000,day\n", r"line 2, field 'distance' at \[1\]: found 40000; int16 holds"),
        ("light,distance_0,distance_1,label\n1,2,3,dawn\n", r"line 2, label 'label': found 'dawn'; use one of day, night"),
        ('light,distance_0,distance_1,label\n1,2,3,"day\n', r"line 2: it is not CSV"),
        (b"light,distance_0,distance_1,label\n1,2,3,\xff\n", r"UTF-8"),
        (
            "light;distance_0;distance_1;label\n0,5;1;2;day\n",
            r"line 1, columns are separated by semicolons; save the file with c",
        ),
        (
            '"light";"distance_0";"distance_1";"label"\n',
            r"line 1, columns are separated by semicolons; save the file with commas",
        ),
        ("light\tdistance_0\tdistance_1\tlabel\n", r"line 1, columns are separated by tabs; save the file with commas"),
        ("light|distance_0|distance_1|label\n", r"line 1, columns are separated by vertical bars; save the file with commas"),
        (
            "sep=;\nlight;distance_0\n",
            r"line 1, found 'sep=;', which only spreadsheets read; remove that line, and separate col",
        ),
        ("\ufeffsep=,\nlight,distance_0\n", r"line 1, found 'sep=,', which only spreadsheets read; remove that line"),
        ("light,distance_0,distance_1,label\n1,2,3,day,4\n", r"line 2, found 5 cells, but the header has 4"),
        ("light,distance_0,distance_1,label\n1,2,3,day\0\n", r"line 2, label 'label': found 'day\\x00'; use one of day, night"),
        ("\n\n", r"line 1, the header lacks light"),
    ],
)
def test_a_fault_in_a_csv_file_is_named_with_its_line_and_remedy(tmp_path: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(InvalidSamples, match=rf"samples\.csv, .*{message}"):
        read_csv(tmp_path, content)


@pytest.mark.parametrize("read", [read_csv, read_json])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_the_other_unicode_that_spreadsheets_write_is_named(
    read: Callable[[Path, bytes], object], encoding: str, tmp_path: Path
) -> None:
    with pytest.raises(InvalidSamples, match=r"UTF-16|it is not JSON"):
        read(tmp_path, "light,distance_0,distance_1,label\n".encode(encoding))


def test_a_large_csv_header_is_named_in_short(tmp_path: Path) -> None:
    data = DataFormat(storage="csv", fields=(SampleField(name="x", shape=(64,)),), classes=("a", "b"))
    file = tmp_path / "samples.csv"
    file.write_text("label\n")
    with pytest.raises(InvalidSamples, match="lacks x_0, x_1, x_2, x_3, x_4 and 59 more"):
        list(read_records(file, data))


def test_json_lines_may_have_more_keys_and_empty_lines(tmp_path: Path) -> None:
    content = '{"light": 0.5, "distance": [1, 2], "label": 1, "at": "noon"}\n\n{"label":"day","distance":[3,4.0],"light":true}'
    assert read_json(tmp_path, content) == [(0.5, [1, 2], 1), (1.0, [3, 4], 0)]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "it is not JSON: .*; write one object on one line"),
        ("[" * 100_000, "it is not JSON"),
        ("[1, 2]", r"found \[1, 2\]; write one object with the fields and the label"),
        ('{"light": 1, "label": "day"}', "field 'distance': missing; found 'light, label'; add it"),
        ('{"light": 1, "distance": [1, 2]}', "field 'label': missing"),
        (
            '{"light": 1, "distance": [1, 2], "label": "day", "light": 2}',
            "the key 'light' stands 2 times in one object; keep one",
        ),
        (
            '{"light": "dim", "distance": [1, 2], "label": "day"}',
            "field 'light': found 'dim'; store numbers that float32 holds",
        ),
        ('{"light": null, "distance": [1, 2], "label": "day"}', "field 'light': found None; store numbers"),
        ('{"light": 1, "distance": [1, "near"], "label": "day"}', "field 'distance': found 'near'; store numbers"),
        ('{"light": 1, "distance": [[1], [2, 3]], "label": "day"}', r"field 'distance': .*shape \(2,\)"),
        ('{"light": 1, "distance": [1, 2, 3], "label": "day"}', r"field 'distance': found a value of shape \(3,\)"),
        ('{"light": NaN, "distance": [1, 2], "label": "day"}', "field 'light': found nan; leave such samples out"),
        ('{"light": 1, "distance": [1, 1e400], "label": "day"}', r"field 'distance' at \[1\]: found inf"),
        (
            '{"light": 1, "distance": [1, 99999999999999999999999], "label": "day"}',
            "field 'distance': found 99999999999999999999999",
        ),
        ('{"light": 1, "distance": [1, 2], "label": true}', "label 'label': found True; use one of day, night"),
        ('{"light": 1, "distance": [1, 2], "label": -1}', "label 'label': found -1"),
        ('{"light": 1, "distance": [1, 2], "label": 2}', "label 'label': found 2; .*index from 0 to 1"),
    ],
)
def test_a_fault_in_a_json_line_is_named_with_its_line_and_remedy(tmp_path: Path, line: str, message: str) -> None:
    good = '{"light": 1, "distance": [1, 2], "label": "day"}\n'
    with pytest.raises(InvalidSamples, match=rf"samples\.jsonl, line 2, {message}"):
        read_json(tmp_path, good + line + "\n")


def test_a_line_without_end_is_refused_before_it_fills_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "MAX_LINE", 1000)
    with pytest.raises(InvalidSamples, match=r"line 1: longer than 1000 letters"):
        read_json(tmp_path, " " * 2000)
    with pytest.raises(InvalidSamples, match=r"line 1: longer than 1000 letters"):
        read_csv(tmp_path, "x" * 2000)
