"""Documents: what JSON and YAML may hold, and how everything else is explained."""

from __future__ import annotations

import contextlib
import time
import tracemalloc

import pytest

from haikud.engine.admission.documents import DocumentError, parse_document


def refused(data: bytes, name: str) -> DocumentError:
    began = time.perf_counter()
    with pytest.raises(DocumentError) as caught:
        parse_document(data, name)
    assert time.perf_counter() - began < 5
    assert all(fault.code and fault.found and fault.fix for fault in caught.value.faults)
    return caught.value


def test_json_and_yaml_give_the_same_document():
    json_text = b'{"a": [1, 2.5, true, null, "x"], "b": {"c": ""}}'
    yaml_text = b"a: [1, 2.5, true, null, x]\nb:\n  c: ''\n"
    assert parse_document(json_text, "a.json") == parse_document(yaml_text, "a.yaml")
    assert parse_document(json_text, "a.YML") == parse_document(json_text, "a.JSON")


def test_a_bom_is_fine():
    assert parse_document(b'\xef\xbb\xbf{"a": 1}', "a.json") == {"a": 1}
    assert parse_document(b"\xef\xbb\xbfa: 1\n", "a.yaml") == {"a": 1}


def test_yaml_keeps_dates_times_and_yes_as_they_are_written():
    document = parse_document(b"d: 2025-10-21\nt: 12:30\ny: yes\nn: off\nz: ~\nh: 0x1f\ns: '1'\nb: |\n  1\n", "a.yaml")
    assert document == {
        "d": "2025-10-21",
        "t": "12:30",
        "y": "yes",
        "n": "off",
        "z": None,
        "h": 31,
        "s": "1",
        "b": "1\n",
    }


@pytest.mark.parametrize(
    ("data", "name", "code", "word"),
    [
        (b"", "a.json", "EMPTY", "empty"),
        (b" \n\t", "a.yaml", "EMPTY", "white space"),
        (b"\0" * 500, "a.json", "EMPTY", "NUL"),
        (b"# only a comment\n", "a.yaml", "EMPTY", "comments"),
        (b"---\n", "a.yaml", "EMPTY", "without content"),
        (b'{"a": "\0"}', "a.json", "BINARY", "NUL byte at offset"),
        ('{"a": 1}'.encode("utf-16"), "a.json", "BAD_ENCODING", "UTF-16"),
        ('{"a": 1}'.encode("utf-16-le"), "a.json", "BAD_ENCODING", "UTF-16"),
        ('{"a": 1}'.encode("utf-32"), "a.json", "BAD_ENCODING", "UTF-32"),
        ("{'a': 'ä'}".encode("latin-1"), "a.json", "BAD_ENCODING", "0xe4"),
        (b"\x1f\x8b\x08\x00", "a.json", "BINARY", "gzip"),
        (b"{}", "a.txt", "BAD_NAME", "a.txt"),
        (b"[" * 100_000, "a.json", "TOO_DEEP", "64"),
        (b"[" * 100_000, "a.yaml", "TOO_DEEP", "64"),
        (b"{" * 100_000, "a.yaml", "TOO_DEEP", "64"),
        (b"- " * 100_000, "a.yaml", "TOO_DEEP", "64"),
        (b'{"a":' * 65 + b"1" + b"}" * 65, "a.json", "TOO_DEEP", "64"),
        (b"[" + b"1," * 20_000 + b"1]", "a.json", "TOO_MANY_NODES", "20000"),
        (b"[" + b"1," * 20_000 + b"1]", "a.yaml", "TOO_MANY_NODES", "20000"),
        (b"a: &x [1]\nb: [*x, *x]\n", "a.yaml", "FORBIDDEN_YAML", "&x"),
        (b"a: *x\n", "a.yaml", "FORBIDDEN_YAML", "*x"),
        (b"a: !!python/object/apply:os.system ['true']\n", "a.yaml", "FORBIDDEN_YAML", "tag"),
        (b"a: !!str 1\n", "a.yaml", "FORBIDDEN_YAML", "tag"),
        (b"a: ! 1\n", "a.yaml", "FORBIDDEN_YAML", "tag"),
        (b"a: 1\n---\nb: 2\n", "a.yaml", "FORBIDDEN_YAML", "second document"),
        (b"a: b: c\n", "a.yaml", "INVALID_YAML", "line 1"),
        (b"a:\n\t- b\n", "a.yaml", "INVALID_YAML", "line 2"),
        (b'a: "x\n', "a.yaml", "INVALID_YAML", "line"),
        (b"a: \x01\n", "a.yaml", "INVALID_YAML", "control"),
    ],
)
def test_bytes_that_are_no_document_are_explained(data: bytes, name: str, code: str, word: str):
    fault = refused(data, name).faults[0]
    assert (fault.code, fault.field) == (code, "")
    assert word in fault.found, fault


@pytest.mark.parametrize(
    ("text", "fix"),
    [
        ('{"a": 1,}', "comma"),
        ("{'a': 1}", "double quotes"),
        ('{"a": True}', "true for True"),
        ('{"a": "x', "cut off"),
        ('{"a": [1, 2', "cut off"),
        ('{"a": 1} {"b": 2}', "one file"),
        ("title: x", ".yaml"),
        ('{"a": 1 // no\n}', "no comments"),
        ('{"a": "x\ny"}', r"\n"),
        ('{"a": 1 "b": 2}', "missing comma"),
        ('{"a": "\\d"}', "backslash"),
    ],
)
def test_bad_json_comes_with_the_nearest_fix(text: str, fix: str):
    fault = refused(text.encode(), "a.json").faults[0]
    assert fault.code == "INVALID_JSON"
    assert fix in fault.fix, fault


@pytest.mark.parametrize("name", ["a.json", "a.yaml"])
def test_duplicate_keys_are_named_by_their_pointer(name: str):
    error = refused(b'{"a/b": {"c": [{"d": 1, "d": 2}]}, "id": "x"}', name)
    assert [(f.code, f.field) for f in error.faults] == [("DUPLICATE_KEY", "/a~1b/c/0/d")]
    assert error.document["id"] == "x"


def test_numbers_that_cannot_be_stored_are_named_by_their_pointer():
    text = b'{"a": NaN, "b": [-Infinity, 1e999], "c": ' + b"9" * 5000 + b"}"
    faults = {f.field: f for f in refused(text, "a.json").faults}
    assert set(faults) == {"/a", "/b/0", "/b/1", "/c"}
    assert faults["/a"].found == "NaN"
    yaml_faults = refused(b"a: .nan\nb: -.inf\nc: 1e999\nd: 0x" + b"f" * 4000, "a.yaml").faults
    assert {(f.code, f.field) for f in yaml_faults} == {("BAD_NUMBER", p) for p in ("/a", "/b", "/c", "/d")}


def test_keys_that_are_no_strings_are_named():
    faults = refused(b"x:\n  1: a\n  true: b\n  ~: c\n  ? [1]\n  : d\n", "a.yaml").faults
    assert [f.code for f in faults] == ["BAD_KEY"] * 4
    assert faults[0].field == "/x/1"
    assert '"1"' in faults[0].fix


def test_text_that_cannot_be_stored_is_named():
    faults = refused(b'{"a": "x\\u0000y", "b": "\\ud800", "\\udc00": 1}', "a.json").faults
    assert [f.code for f in faults] == ["BAD_TEXT"] * 3
    assert {f.field for f in faults} == {"/a", "/b", "/\\udc00"}
    for fault in faults:
        fault.model_dump_json()
    assert parse_document(b'{"a": "\\ud83d\\ude00"}', "a.json") == {"a": "\U0001f600"}


@pytest.mark.parametrize(
    "data",
    [
        b"'" * 1_000_000,
        b'"' + b'\\"' * 500_000,
        b"[" * 1_000_000,
        b"{a, b, " * 100_000,
        b"? " * 500_000,
        b"&a " * 300_000,
        b"a: |\n" + b" x\n" * 300_000,
        b"{" + b"a b c d " * 120_000 + b": 1}",
        b"!" * 1_000_000,
        b"#" * 1_000_000,
        b"%" * 1_000_000,
        b"a:" * 500_000,
    ],
    ids=lambda data: data[:6].decode(),
)
@pytest.mark.parametrize("name", ["a.json", "a.yaml"])
def test_a_megabyte_of_anything_is_answered_soon(data: bytes, name: str):
    began = time.perf_counter()
    with contextlib.suppress(DocumentError):
        parse_document(data, name)
    assert time.perf_counter() - began < 5


def test_the_settings_say_how_deep_and_how_much():
    deep, wide = b'{"a":' * 9 + b"1" + b"}" * 9, b'{"a": [' + b"1," * 99 + b"1]}"
    for name in ("a.json", "a.yaml"):
        with pytest.raises(DocumentError, match="more than 8 levels"):
            parse_document(deep, name, most_depth=8)
        parse_document(deep, name, most_depth=10)
        with pytest.raises(DocumentError, match="more than 50"):
            parse_document(wide, name, most_nodes=50)
        parse_document(wide, name, most_nodes=200)


def test_a_flood_of_small_parts_is_counted_before_it_is_built():
    tracemalloc.start()
    for data in (
        b"[" + b"{}," * 350_000 + b"{}]",
        b"[" + b"1," * 500_000 + b"1]",
        b'{"a":[' * 30 + b"[],[]," * 170_000,
    ):
        with pytest.raises(DocumentError, match="more than 20000"):
            parse_document(data, "a.json")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * 1024 * 1024


def test_yaml_directives_cannot_stop_the_clock():
    begun = time.monotonic()
    with pytest.raises(DocumentError, match="%TAG"):
        parse_document("".join(f"%TAG !a{n}! tag:x\n" for n in range(50_000)).encode() + b"--- a\n", "a.yaml")
    assert time.monotonic() - begun < 1.0
    assert parse_document(b"%YAML 1.2\n%TAG !a! tag:x\n--- {a: 1}\n", "a.yaml") == {"a": 1}
