"""JSON and TOML from elsewhere: bounded, finite, in Unicode; each fault names its place."""

from __future__ import annotations

import json
import os
import time

import pytest

from rezoo.artifacts.config import read_config
from rezoo.errors import (
    IncompatibleError,
    IntegrityError,
    NotFoundError,
    SpecError,
    UnsafeFileError,
)
from rezoo.recipes import read_recipe
from rezoo.utils.documents import MAX_DEPTH, MAX_TOML_BYTES, parse_json, parse_toml, read_document

BAD_JSON = {
    "": "Expecting value",
    "{": "Expecting property name",
    "[" * 200_000: "more than 32 levels",
    '{"a":' * 200_000: "more than 32 levels",
    "[" * 33 + "1" + "]" * 33: "more than 32 levels",
    '{"n": ' + "1" * 5000 + "}": "integer has more than 64 bits",
    '{"n": [1, NaN]}': "NaN is not a JSON number",
    '{"n": -Infinity}': "-Infinity is not a JSON number",
    '{"a": 1, "b": 2, "a": 3}': "the key 'a' occurs twice",
    b'{"s": 1,\n"t": "\xe9"}': "line 2 is not UTF-8",
    b"\x80\x04\x95": "line 1 is not UTF-8",
}


@pytest.mark.parametrize("content", BAD_JSON, ids=lambda text: repr(text[:30]))
def test_json_that_is_refused(content):
    begun = time.process_time()
    with pytest.raises(IntegrityError, match=r"x\.json is not valid JSON: ") as refused:
        parse_json(content, "x.json")
    assert BAD_JSON[content] in str(refused.value)
    assert time.process_time() - begun < 1


REFUSED = {
    '{"n": -' + "1" * 30 + "}": "key 'n': an integer has more than 64 bits",
    '{"n": {"m": [99999999999999999999]}}': "key 'm': an integer has more than 64 bits",
    '{"a": {"n": [1e999]}}': "key 'n': inf is not a finite number",
    '{"s": "\\ud800"}': r"key 's': '\ud800' is not Unicode",
    '{"\\udfff": 1}': r"key '\udfff': '\udfff' is not Unicode",
}


@pytest.mark.parametrize("content", REFUSED)
def test_values_that_are_refused(content):
    with pytest.raises(IncompatibleError) as refused:
        parse_json(content, "x.json")
    assert refused.value.message == f"x.json: {REFUSED[content]}"


BAD_TOML = {
    "a = ": "Invalid value",
    "a = " + "[" * 3000: "more than 32 levels",
    "a = " + "[" * 40 + "]" * 40: "more than 32 levels",
    "a = " + "{a = " * 40 + "1" + "}" * 40: "more than 32 levels",
    ".".join("a" * 400_000) + " = 1": "a key has more than 32 parts",
    "[" + ".".join("a" * 400_000) + "]": "a key has more than 32 parts",
    "x = {" + " . ".join(['"a b"', "'c'"] * 20) + " = 1}": "a key has more than 32 parts",
    "epochs = " + "9" * 5000: "integer has more than 64 bits",
    "epochs = " + "9" * 3000: "'epochs': an integer has more than 64 bits",
    "batch_size = 0x" + "f" * 3000: "'batch_size': an integer has more than 64 bits",
    "mean = [0.5, nan]": "'mean': nan is not a finite number",
    "lr = 1e999": "'lr': inf is not a finite number",
    "a = 1\na = 2": "Cannot overwrite a value",
    b"# caf\xe9\nepochs = 1": "line 1 is not UTF-8",
}


@pytest.mark.parametrize("content", BAD_TOML, ids=lambda text: repr(text[:30]))
def test_toml_that_is_refused(content, tmp_path):
    begun = time.process_time()
    with pytest.raises(SpecError, match=r"x\.toml") as refused:
        parse_toml(content, "x.toml", error=SpecError)
    assert BAD_TOML[content] in str(refused.value)
    assert time.process_time() - begun < 1
    path = tmp_path / "mine.toml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SpecError, match=r"mine\.toml"):
        read_recipe(str(path))


def test_documents_at_the_bounds():
    deepest = json.loads("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    assert parse_json(json.dumps(deepest), "x") == deepest
    numbers = [2**64 - 1, -(2**63), 1e308, 5e-324]
    assert parse_json(json.dumps(numbers), "x") == numbers
    assert parse_json(b'\xef\xbb\xbf{"emoji": "\\ud83d\\ude00"}', "x") == {
        "emoji": "\N{GRINNING FACE}"
    }
    text = 'note = "' + "v1." * 30 + '"\nb = "' + "x" * (MAX_TOML_BYTES - 200) + '"'
    assert parse_toml(text, "x")["note"] == "v1." * 30


def test_sizes_are_checked_before_parsing(tmp_path):
    with pytest.raises(UnsafeFileError, match="x has 1,048,577 bytes; at most 1,048,576"):
        parse_toml(" " * (MAX_TOML_BYTES + 1), "x")
    path = tmp_path / "metrics.json"
    with open(path, "wb") as file:
        file.truncate(2**40)  # sparse
    with pytest.raises(UnsafeFileError, match="at most 8,388,608"):
        read_document(path)


def test_what_is_no_regular_file_is_not_read(tmp_path):
    path = tmp_path / "metrics.json"
    with pytest.raises(NotFoundError, match=r"cannot read .*metrics\.json: No such file"):
        read_document(path)
    with pytest.raises(NotFoundError, match="cannot read"):
        read_document(tmp_path / ("x" * 300 + ".json"))
    with pytest.raises(NotFoundError, match="null"):
        read_document(tmp_path / "a\0b.json")
    os.mkfifo(path)
    with pytest.raises(UnsafeFileError, match=r"metrics\.json is a FIFO, not a regular file"):
        read_document(path)
    path.unlink()
    path.symlink_to("/proc/self/environ")
    with pytest.raises(UnsafeFileError, match="has more than the 0 bytes of its size"):
        read_document(path)
    path.unlink()
    path.symlink_to("/dev/zero")
    with pytest.raises(UnsafeFileError, match="is a device"):
        read_document(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(UnsafeFileError, match="is a folder"):
        read_document(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_files_that_may_not_be_read(tmp_path):
    path = tmp_path / "config.json"
    path.write_text("{}")
    path.chmod(0)
    for read in (read_document, lambda path: read_config(path.parent)):
        with pytest.raises(NotFoundError, match=r"cannot read .*config\.json: Permission denied"):
            read(path)


@pytest.mark.parametrize("content", ["[1]", "5", "null", '"a"'])
def test_document_that_is_no_object(tmp_path, content):
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(IncompatibleError, match="must be an object"):
        read_document(tmp_path / "x.json")
