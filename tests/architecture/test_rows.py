"""The requirements and the tests that name them fit together."""

from __future__ import annotations

import pytest

from tests import rows

# fmt: off
DOCUMENTS = {
    "distribution.md": "DS", "basic-registry.md": "BR", "olareg.md": "OW",
    "zlayer-registry.md": "ZL", "wasm-to-oci.md": "WO", "cncf-wasm.md": "CW",
    "wkg.md": "WK", "warg-loader.md": "WL",
}

BAD_LINES = [
    ("| DS-001 | text |",              "2 cells"),
    ("| DS-1 | text | |",              "'DS-1' is no id"),
    ("| DS-001 | | |",                 "DS-001 says nothing"),
    ("| DS-001 | text | soon |",       "when is 'soon'"),
    ("| DS-002 | text | |",            "DS-002 is there twice"),
]
# fmt: on


def test_the_documents():
    found, faults = rows.read_documents()
    assert faults == []
    prefixes = {(row.file, row.id[:2]) for row in found}
    assert prefixes == set(DOCUMENTS.items())


def test_ids_ascend():
    found, _ = rows.read_documents()
    for file in DOCUMENTS:
        ids = [row.id for row in found if row.file == file]
        assert ids == sorted(ids), file


def test_tests_name_rows_that_exist():
    listed = {row.id for row in rows.read_documents()[0]}
    assert [n for n in rows.read_tests() if n.id not in listed] == []


@pytest.mark.parametrize(("line", "fault"), BAD_LINES, ids=[fault for _, fault in BAD_LINES])
def test_a_bad_table_is_told(tmp_path, line, fault):
    head = "| id | what wasmhold does | when |\n| --- | --- | --- |\n| DS-002 | good | later |\n"
    (tmp_path / "distribution.md").write_text(f"{head}{line}\n")
    _, faults = rows.read_documents(tmp_path)
    assert len(faults) == 1
    assert fault in faults[0]


def test_a_bar_in_a_cell():
    assert rows.cells(r"| DS-001 | `a \| b` | |") == ["DS-001", r"`a \| b`", ""]


def test_where_rows_are_named():
    source = '@covers("DS-001", "DS-002")\ndef f(): ...\n@testing.covers("BR-003")\nclass C: ...\n'
    assert [n.id for n in rows.named_in_python(source, "x.py")] == ["DS-001", "DS-002", "BR-003"]
    text = "# A title.   Covers: DS-001, OW-151b\n> GET /v2/\n< 200\n"
    assert list(rows.named_in_transcript(text, "x.http")) == [
        rows.Named("DS-001", "x.http:1"),
        rows.Named("OW-151b", "x.http:1"),
    ]


def test_what_cannot_be_read_is_an_error():
    with pytest.raises(ValueError, match=r"x\.py:1"):
        list(rows.named_in_python("covers(*ROWS)", "x.py"))


@pytest.mark.parametrize("arguments", [["--unknown"], ["--strict", "more"]])
def test_usage(arguments, capsys):
    assert rows.main(arguments) == 2
    assert "usage" in capsys.readouterr().err


def test_the_last_line_counts(capsys):
    assert rows.main([]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith(f"{len(rows.read_documents()[0])} rows, ")
