"""`rezoo data check` and `prepare`: dirt, duplicates, the report, and what must not be touched."""

from __future__ import annotations

import io
import json
import os
import random
import re
import shutil
import struct
import sys
import warnings
import zlib
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from conftest import encoded, fails
from rezoo.data.audit import duplicates
from rezoo.data.audit.check import check, check_splits
from rezoo.data.audit.page import ignore_lines
from rezoo.data.audit.scan import describe
from rezoo.data.datasets import DataOptions, load_dataset
from rezoo.data.examples import Examples, Splits
from rezoo.data.image_sources import ArraySource

MIRROR = Image.Transpose.FLIP_LEFT_RIGHT


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("REZOO_CACHE", str(tmp_path / "cache"))


def drawing(seed: int, size: tuple[int, int] = (160, 120)) -> Image.Image:
    """Draw shapes of many sizes and colours: each seed another picture."""
    draw_with = random.Random(seed)
    image = Image.new("RGB", size, tuple(draw_with.choices(range(256), k=3)))
    draw = ImageDraw.Draw(image)
    for _ in range(25):
        x, y = draw_with.randrange(-20, size[0]), draw_with.randrange(-20, size[1])
        box = (x, y, x + draw_with.randrange(5, 70), y + draw_with.randrange(5, 70))
        shape = draw_with.choice((draw.ellipse, draw.rectangle))
        shape(box, fill=tuple(draw_with.choices(range(256), k=3)))
    return image


def half(image: Image.Image) -> Image.Image:
    return image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS)


def crop(image: Image.Image) -> Image.Image:
    return image.crop((24, 18, image.width, image.height))


COPIES = {  # what a copy is → its bytes and its ending
    "exact": lambda image: (encoded(image, quality=95), ".jpg"),
    "half": lambda image: (encoded(half(image), quality=90), ".jpg"),
    "quality60": lambda image: (encoded(image, quality=60), ".jpg"),
    "png": lambda image: (
        encoded(Image.open(io.BytesIO(encoded(image, quality=95))), "PNG"),
        ".png",
    ),
    "mirrored": lambda image: (encoded(image.transpose(MIRROR), quality=90), ".jpg"),
    "mirrored half": lambda image: (encoded(half(image).transpose(MIRROR)), ".jpg"),
}


def put(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


@pytest.fixture
def planted(tmp_path) -> tuple[Path, dict[str, str]]:
    """A folder with train and test, and in the other split a copy of each kind."""
    root, copies = tmp_path / "photos", {}
    for i in range(40):
        split = "test" if i % 4 == 0 else "train"
        put(root / split / "ab"[i % 2] / f"{i:02d}.jpg", encoded(drawing(i), quality=95))
    for i, (name, make) in enumerate(COPIES.items()):
        split, other = ("test", "train") if i % 4 == 0 else ("train", "test")
        data, ending = make(drawing(i))
        key = f"{other}/{'ab'[i % 2]}/{name}{ending}"
        put(root / key, data)
        copies[key] = f"{split}/{'ab'[i % 2]}/{i:02d}.jpg"
    put(root / "test/a/cropped.jpg", encoded(crop(drawing(10)), quality=95))
    return root, copies


def run(root: Path, output: Path, **options):
    return check(f"folder:{root}", output=output, **options)


def listed(findings) -> list[str]:
    """Return the keys that `ignore.txt` lists."""
    return [line for line in ignore_lines(findings) if line and line[0] != "#"]


def test_planted_duplicates(planted, tmp_path):
    root, copies = planted
    findings, document = run(root, tmp_path / "out")
    found = {tuple(sorted(m.key for m in g.members)): g for g in findings.duplicates}
    assert set(found) == {tuple(sorted(pair)) for pair in copies.items()}
    assert all(g.across_splits and len(g.labels) == 1 for g in findings.duplicates)
    kinds = {Path(pair[0]).stem: found[tuple(sorted(pair))].kind for pair in copies.items()}
    assert kinds == {
        "exact": "same bytes",
        "half": "near",
        "quality60": "near",
        "png": "same pixels",
        "mirrored": "mirrored",
        "mirrored half": "mirrored",
    }
    assert document["problems"]["duplicates across splits"] == len(COPIES)
    assert document["problems"]["duplicates within a split"] == 0


def test_faulty_rows_are_all_listed(photographs, tmp_path, call):
    root = photographs({"train/a": 3, "test/b": 3})
    rows = [p.relative_to(root).as_posix() for p in sorted(root.rglob("*.jpg"))]
    lines = [f"{path},{path.split('/')[1]}" for path in rows]
    wrong = [f"{rows[0]},c", "nosuch.jpg,a", f"{rows[1]},", f"train/../{rows[2]},d", "\0,a"]
    (root / "table.csv").write_text("\n".join(["path,label", *lines, ",", *wrong, ""]))
    answer = call("data", "check", f"csv:{root / 'table.csv'}", "--output", tmp_path / "out")
    assert answer.rc == 0, answer
    assert f"note: 1 empty rows are left out (line {len(lines) + 2})" in answer.out
    document = json.loads((tmp_path / "out" / "data-report.json").read_text())
    first = len(lines) + 3
    where = [f"line {first + i}: " for i in range(len(wrong))]
    assert [text.partition(": ")[0] + ": " for text in document["refused"]] == where
    assert document["problems"]["refused entries"] == len(wrong)
    assert sum(document["examples"].values()) == len(rows)
    page = (tmp_path / "out" / "data-report.html").read_text()
    assert f"line {first}: {rows[0]} is listed above, in line 2, as &#39;b&#39;" in page


def test_names_and_links_that_are_refused_are_listed(photographs, tmp_path):
    root = photographs({"a": 3, "b": 3})
    (root / "b" / "link.jpg").symlink_to(root / "a" / "000.jpg")
    try:
        (root / os.fsdecode(b"caf\xe9")).mkdir()
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    (root / os.fsdecode(b"caf\xe9/1.jpg")).write_bytes(b"x")
    (root / "a" / "pipe.jpg").mkdir()
    (root / "a" / "@eaDir").mkdir()
    (root / "a" / "@eaDir" / "1.jpg").write_bytes(b"x")
    findings, document = run(root, tmp_path / "out")
    assert findings.refused == [
        r"caf\xe9 is not a name in UTF-8 (1 image)",
        "b/link.jpg and a/000.jpg are one file, by a link",
    ]
    assert findings.examples == {"train": 2, "val": 2, "test": 2}
    assert document["problems"]["cannot be decoded"] == 0


def test_the_test_split_is_kept(planted, tmp_path):
    root, copies = planted
    findings, _ = run(root, tmp_path / "out")
    keys = listed(findings)
    assert sorted(keys) == sorted(
        next(key for key in pair if key.startswith("train/")) for pair in copies.items()
    )
    text = (tmp_path / "out" / "ignore.txt").read_text()
    assert [line for line in text.splitlines() if line and line[0] != "#"] == keys


def test_loading_takes_the_list(planted, tmp_path):
    root, _ = planted
    (root / "train/a/empty.jpg").write_bytes(b"")
    findings, _ = run(root, tmp_path / "out")
    options = DataOptions(ignore=str(tmp_path / "out" / "ignore.txt"), bad_limit=0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # no unknown name in the list, no unreadable image
        data = load_dataset(f"folder:{root}", options)
    every = data.examples("all")
    assert not set(listed(findings)) & {every.key(i) for i in range(len(every))}
    again = check_splits(data.splits, "the rest")
    assert not again.duplicates
    assert not again.undecodable


def test_nothing_in_the_data_changes(planted, tmp_path):
    root, _ = planted
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in root.rglob("*.*")}
    run(root, tmp_path / "out")
    assert before == {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in root.rglob("*.*")}
    assert sorted(os.listdir(tmp_path / "out")) == [
        "data-report.html", "data-report.json", "ignore.txt",
    ]  # fmt: skip


def test_one_image_with_two_labels(tmp_path):
    root = tmp_path / "photos"
    for i in range(20):
        put(root / "train" / "ab"[i % 2] / f"{i:02d}.jpg", encoded(drawing(i)))
        put(root / "test" / "ab"[i % 2] / f"{i:02d}.jpg", encoded(drawing(100 + i)))
    put(root / "train/b/copy.jpg", encoded(half(drawing(0)), quality=80))
    findings, document = run(root, tmp_path / "out")
    assert document["problems"]["duplicates with different labels"] == 1
    (group,) = findings.duplicates
    assert group.labels == ("a", "b")
    assert listed(findings) == []
    text = "\n".join(ignore_lines(findings))
    assert "# train/a/00.jpg  (train, a)" in text
    assert "# train/b/copy.jpg  (train, b)" in text


def test_several_copies_leave_one(tmp_path):
    root = tmp_path / "photos"
    for i in range(20):
        put(root / "train" / "ab"[i % 2] / f"{i:02d}.jpg", encoded(drawing(i)))
    for name in ("x", "y"):
        put(root / f"train/a/{name}.jpg", encoded(half(drawing(0)), quality=80))
    put(root / "test/a/z.jpg", encoded(drawing(0), quality=70))
    put(root / "test/b/other.jpg", encoded(drawing(77)))
    findings, _ = run(root, tmp_path / "out")
    (group,) = findings.duplicates
    assert group.members[0].key == "test/a/z.jpg"
    assert sorted(listed(findings)) == ["train/a/00.jpg", "train/a/x.jpg", "train/a/y.jpg"]


def bomb() -> bytes:
    """Return a PNG of some bytes whose header claims 400 megapixels."""
    image = bytearray(encoded(drawing(899), "PNG"))
    image[16:24] = struct.pack(">II", 20_000, 20_000)
    image[29:33] = struct.pack(">I", zlib.crc32(image[12:29]))
    return bytes(image)


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(drawing(900), exif=exif)


DIRT = {  # name → content, and a part of the reason; empty where it is usable
    "empty.jpg": (b"", "the file is empty"),
    "text.jpg": (b"hello, this is no picture\n" * 4, "not a JPEG, PNG, GIF, BMP, WebP, TIFF"),
    "page.jpg": (b"<!DOCTYPE html><html><body>404</body></html>", "a web page"),
    "cut.jpg": (encoded(drawing(901))[:1500], "damaged or cut off (1500 bytes)"),
    "cut.png": (encoded(drawing(902), "PNG")[:1500], "damaged or cut off (1500 bytes)"),
    "bomb.png": (bomb(), "400 megapixels; at most 67 are decoded"),
    "a_gif.jpg": (encoded(drawing(903).quantize(), "GIF"), ""),
    "a_png.jpg": (encoded(drawing(904), "PNG"), ""),
    "cmyk.jpg": (encoded(drawing(905).convert("CMYK")), ""),
    "deep.png": (encoded(Image.fromarray(
        np.asarray(drawing(906).convert("L")).astype(np.uint16) * 257), "PNG"), ""),
    "alpha.png": (encoded(drawing(907).convert("RGBA"), "PNG"), ""),
    "grey.jpg": (encoded(drawing(908).convert("L")), ""),
    "turned.jpg": (turned(), ""),
    "tiny.png": (encoded(drawing(909, (20, 24)), "PNG"), ""),
    "thin.png": (encoded(drawing(910, (40, 900)), "PNG"), ""),
}  # fmt: skip


@pytest.fixture
def dirty(tmp_path) -> Path:
    root = tmp_path / "dirty"
    for split, first in (("train", 0), ("test", 40)):
        for i in range(first, first + 20):
            put(root / split / "ab"[i % 2] / f"{i:02d}.jpg", encoded(drawing(i)))
    for name, (data, _) in DIRT.items():
        put(root / "train" / "a" / name, data)
    os.symlink(root / "nowhere.jpg", root / "train" / "a" / "dangling.jpg")
    return root


def test_every_kind_of_dirt(dirty, tmp_path):
    findings, document = run(dirty, tmp_path / "out")
    reasons = {Path(e.key).name: e.note for e in findings.undecodable}
    expected = {name for name, (_, reason) in DIRT.items() if reason} | {"dangling.jpg"}
    assert set(reasons) == expected
    for name, (_, reason) in DIRT.items():
        assert reason in reasons.get(name, ""), name
    assert reasons["dangling.jpg"] == "the file is not there"
    assert all(e.label == "a" for e in findings.undecodable)
    assert {Path(e.key).name: e.note for e in findings.wrong_endings} == {
        "a_gif.jpg": "named .jpg, is GIF",
        "a_png.jpg": "named .jpg, is PNG",
    }
    remarks = document["remarks"]
    assert remarks["CMYK"] == remarks["16 bits per channel"] == remarks["EXIF orientation"] == 1
    assert remarks["with alpha"] == 1
    assert remarks["grey"] == 2  # the one of 16 bits is grey too
    assert remarks["shorter side below 32 pixels"] == 1
    assert remarks["one side over 16 times the other"] == 1
    assert [Path(e.key).name for e in findings.thin] == ["thin.png"]
    assert document["formats"]["unknown"] == 5  # empty, text, page, bomb, dangling
    assert sorted(listed(findings)) == sorted(f"train/a/{name}" for name in expected)


def test_facts_of_headers():
    image = drawing(1)
    deep = np.asarray(image.convert("L")).astype(np.uint16) * 257
    half_transparent = image.copy()
    half_transparent.putalpha(128)
    for data, kind, colour, bits in (
        (encoded(image), "jpeg", "colour", 8),
        (encoded(image.convert("L")), "jpeg", "grey", 8),
        (encoded(image.convert("CMYK")), "jpeg", "CMYK", 8),
        (encoded(image.convert("LA"), "PNG"), "png", "grey + alpha", 8),
        (encoded(half_transparent, "PNG"), "png", "colour + alpha", 8),
        (encoded(image.quantize(), "PNG"), "png", "palette", 8),
        (encoded(image.quantize(), "PNG", transparency=0), "png", "palette + alpha", 8),
        (encoded(image.convert("1"), "PNG"), "png", "grey", 1),
        (encoded(Image.fromarray(deep), "PNG"), "png", "grey", 16),
        (encoded(image, "BMP"), "bmp", "colour", 8),
        (encoded(image, "WEBP"), "webp", "colour", 8),
        (encoded(half_transparent, "WEBP"), "webp", "colour + alpha", 8),
        (encoded(image, "GIF"), "gif", "palette", 8),
        (encoded(image, "TIFF"), "tiff", "colour", 8),
        (encoded(Image.fromarray(deep), "TIFF"), "tiff", "grey", 16),
        (b"", "", "", 0),
    ):
        facts = describe(data)
        found = facts["format"].item().decode(), facts["colour"].item().decode(), facts["bits"]
        assert found == (kind, colour, bits)
        assert not data or (facts["width"], facts["height"]) == (160, 120)
        assert not facts["turned"]
    assert describe(turned())["turned"]


ODD = ("[x]", "<script>alert(1)<script>", "é猫", "a\x1b[31m", "-rf")


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))


def test_odd_names_stay_names(call, tmp_path):
    root = tmp_path / "odd"
    for place, name in enumerate(ODD):
        for i in range(6):
            put(root / name / f"{name}{i}.jpg", encoded(drawing(10 * place + i)))
        put(root / name / "again.jpg", encoded(half(drawing(10 * place))))
        put(root / name / "new\nline.jpg", b"")
    answer = call("data", "check", f"folder:{root}", "--output", tmp_path / "out")
    assert answer.rc == 0, answer.err
    assert "\x1b" not in answer.out
    html = (tmp_path / "out" / "data-report.html").read_text("utf-8")
    page = Page()
    page.feed(html)
    names = {tag for tag, _ in page.tags}
    assert "script" not in names
    assert "\x1b" not in html
    assert "é猫" in html
    for tag, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes)
        if tag == "img":
            assert attributes["src"].startswith("data:image/jpeg;base64,")
    assert sum(tag == "img" for tag, _ in page.tags) >= 2 * len(ODD)
    assert "http" not in re.sub("http-equiv", "", html)
    (policy,) = [a["content"] for _, a in page.tags if "http-equiv" in a]
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    text = (tmp_path / "out" / "ignore.txt").read_text("utf-8")
    assert text.count("this name cannot be listed") == len(ODD)
    keys = [line for line in text.splitlines() if line and line[0] != "#"]
    assert len(keys) == len(ODD)
    assert all((root / key).is_file() for key in keys)


@pytest.mark.skipif(os.name == "nt" or sys.platform == "darwin", reason="names are Unicode there")
def test_names_that_are_no_unicode(call, tmp_path):
    root = tmp_path / "photos"
    for i in range(24):
        put(root / "ab"[i % 2] / f"{i}.jpg", encoded(drawing(i)))
    put(root / "a" / os.fsdecode(b"\xff.jpg"), b"no picture")
    put(root / "b" / os.fsdecode(b"\xfe.jpg"), encoded(half(drawing(1))))
    answer = call("data", "check", f"folder:{root}", "--output", tmp_path / "out", "--json")
    assert answer.rc == 0, answer.err
    refused = [rf"{odd}.jpg is not a name in UTF-8 (1 image)" for odd in (r"a/\xff", r"b/\xfe")]
    assert json.loads(answer.out)["refused"] == refused
    assert refused[0] in (tmp_path / "out" / "data-report.html").read_text("utf-8")
    for command in ("show", "prepare"):
        fails(call("data", command, f"folder:{root}"), 5, "2 faults", *refused)


def test_labels_are_text(call, tmp_path):
    labels = ("[/x]", "</style><script>alert(1)</script>", "=1+1")
    rows = ["path,label,split"]
    for i in range(30):
        put(tmp_path / f"{i}.jpg", encoded(drawing(i % 20)))  # ten are duplicates with other labels
        rows.append(f"{i}.jpg,{labels[i % 3]},{'test' if i % 5 == 0 else 'train'}")
    put(tmp_path / "table.csv", "\n".join(rows).encode())
    answer = call("data", "check", f"csv:{tmp_path}/table.csv", "--output", tmp_path / "out")
    assert answer.rc == 0, answer.err
    assert "[/x]" in answer.out
    page = Page()
    page.feed((tmp_path / "out" / "data-report.html").read_text("utf-8"))
    assert not {"script", "x"} & {tag for tag, _ in page.tags}
    assert [tag for tag, _ in page.tags].count("style") == 1
    document = json.loads((tmp_path / "out" / "data-report.json").read_text("utf-8"))
    assert document["problems"]["duplicates with different labels"] == 10
    assert {c["name"] for c in document["classes"]} == set(labels)


def test_classes_that_a_split_lacks(tmp_path):
    root = tmp_path / "photos"
    for i in range(30):
        put(root / "train" / "abc"[i % 3] / f"{i}.jpg", encoded(drawing(i)))
        put(root / "test" / "ab"[i % 2] / f"{i}.jpg", encoded(drawing(100 + i)))
    for i in range(20):
        put(root / "train" / "a" / f"more{i}.jpg", encoded(drawing(200 + i)))
    put(root / "test" / "d" / "1.jpg", encoded(drawing(300)))
    findings, document = run(root, tmp_path / "out")
    assert document["missing_classes"]["test"] == ["c"]
    assert document["missing_classes"]["train"] == ["d"]
    assert findings.imbalance["train"] == pytest.approx(27 / 9)
    assert [c["test"] for c in findings.classes] == [15, 15, 0, 1]


def test_exit_codes_and_json(call, dirty, tmp_path):
    dataset = f"folder:{dirty}"
    answer = call("data", "check", dataset, "--output", tmp_path / "one", "--json")
    assert answer.rc == 0
    document = json.loads(answer.out)
    assert document == json.loads((tmp_path / "one" / "data-report.json").read_text("utf-8"))
    assert document["problems"]["cannot be decoded"] == 7
    answer = call("data", "check", dataset, "--output", tmp_path / "one", "--strict")
    assert answer.rc == 5
    assert "cannot be decoded" in answer.out
    assert "bomb.png" in answer.out
    fails(call("data", "check", "digit"), 2, "unknown dataset 'digit'", "digits")
    fails(call("data", "check", f"folder:{tmp_path}/no"), 3, "no such folder")


def test_strict_without_problems(call, tmp_path):
    root = tmp_path / "photos"
    for i in range(60):
        put(root / "ab"[i % 2] / f"{i}.jpg", encoded(drawing(i)))
    put(root / "a" / "gif.jpg", encoded(drawing(70), "GIF"))  # a remark is no problem
    answer = call("data", "check", f"folder:{root}", "--output", tmp_path / "out", "--strict")
    assert answer.rc == 0, answer.out
    assert "1 wrong ending for the format" in answer.out


@pytest.fixture
def small(tmp_path) -> str:
    """A reference of four images in two classes."""
    for i in range(4):
        put(tmp_path / "small" / "ab"[i % 2] / f"{i}.jpg", encoded(drawing(i, (40, 30))))
    return f"folder:{tmp_path / 'small'}"


@pytest.mark.parametrize(
    "name",
    [
        "data-report.html",
        pytest.param("data-report.json", marks=pytest.mark.ci),
        pytest.param("ignore.txt", marks=pytest.mark.ci),
    ],
)
def test_a_file_of_the_user_is_kept(call, small, tmp_path, name):
    output = tmp_path / "out"
    put(output / name, b"mine\n")
    answer = call("data", "check", small, "--output", output)
    fails(answer, 2, f"{name} was not written by rezoo", "--overwrite")
    assert os.listdir(output) == [name]
    assert call("data", "check", small, "--output", output, "--overwrite").rc == 0
    assert call("data", "check", small, "--output", output).rc == 0  # now it is rezoo's


def test_an_edited_file_is_kept(call, small, tmp_path):
    output = tmp_path / "out"
    assert call("data", "check", small, "--output", output).rc == 0
    path = output / "ignore.txt"
    path.write_text(path.read_text() + "a/0.jpg\n")
    fails(call("data", "check", small, "--output", output), 2, "ignore.txt was edited")
    assert path.read_text().endswith("a/0.jpg\n")


def test_output_is_a_file(call, tmp_path):
    put(tmp_path / "file", b"")
    fails(call("data", "check", "digits", "--output", tmp_path / "file"), 2, "is a file")


def test_pixels_in_memory():
    def row(example):
        return example.index + 20 * (example.split == "test")

    random_pixels = np.random.default_rng(0).integers(0, 256, (40, 33, 35, 3), dtype=np.uint8)
    images = random_pixels.copy()
    images[30:] = random_pixels[:10, :, ::-1]
    images[5] = images[4]
    images[9] = images[19] = 128  # flat: only exact copies are found
    keys = [f"x/{i}" for i in range(40)]
    keys[3] = keys[2]
    targets = np.arange(40) % 3
    targets[7] = 3
    parts = {
        "train": Examples(ArraySource(images[:20], targets[:20], keys[:20])),
        "test": Examples(ArraySource(images[20:], targets[20:], keys[20:])),
    }
    findings = check_splits(Splits(parts=parts, class_names=("a", "b", "c")), "pixels")
    pairs = {tuple(sorted(row(m) for m in g.members)) for g in findings.duplicates}
    mirrored = {(i, 30 + i) for i in range(9)} - {(4, 34), (5, 35)}
    assert pairs == mirrored | {(4, 5, 34), (9, 19)}
    assert [e.note for e in findings.bad_labels] == ["label 3"]
    assert [row(e) for e in findings.repeated_keys] == [3]
    assert findings.without_contrast == 1


def test_hashes_of_mirrored_images():
    thumbnails = np.random.default_rng(1).integers(0, 256, (50, 32, 32), dtype=np.uint8)
    codes = duplicates.hashes(thumbnails)
    assert (duplicates.hashes(thumbnails[:, :, ::-1]) == codes ^ duplicates.MIRROR).all()
    assert len(set(codes.tolist())) == 50


@pytest.mark.parametrize("flip", [np.uint64(0), duplicates.MIRROR])
def test_candidates_are_those_of_the_naive_search(flip):
    rng = np.random.default_rng(2)
    codes = rng.integers(0, 2**64, 300, dtype=np.uint64)
    codes[::3] = codes[1::3] ^ (np.uint64(1) << rng.integers(0, 64, 100, dtype=np.uint64))
    codes[:20] = codes[20:40] ^ duplicates.MIRROR
    distance = np.bitwise_count(codes[:, None] ^ codes[None] ^ flip)
    naive = {(i, j) for i, j in np.argwhere(distance <= 3).tolist() if i < j}
    found, cut = duplicates.candidates(codes, flip, block=100)
    assert naive
    assert naive <= set(map(tuple, found.tolist()))
    assert not cut


def test_a_search_with_too_many_candidates_is_cut():
    _, cut = duplicates.candidates(np.zeros(200, np.uint64), np.uint64(0), most=50)
    assert cut


def test_prepare(call, planted):
    root, _ = planted
    answer = call("data", "prepare", f"folder:{root}")
    assert answer.rc == 0, answer.err
    assert "already prepared" in answer.out
    document = json.loads(call("data", "prepare", f"folder:{root}", "--json").out)
    assert document["examples"]["test"] == 15
    assert document["folder"] == str(root)
    assert document["size"] == sum(p.stat().st_size for p in root.rglob("*.*") if p.is_file())
    assert json.loads(call("data", "prepare", "digits", "--json").out)["folder"] is None
    fails(call("data", "prepare", "digit"), 2, "unknown dataset")
    fails(call("data", "prepare", f"folder:{root}/no"), 3, "no such folder")


@pytest.mark.ci
def test_photographs(shared, tmp_path):
    """Copies of photographs of the same 37 breeds are found, and little else."""
    source = shared / "data" / "pets" / "images"
    if not source.is_dir():
        pytest.skip(f"no folder {source}")
    files = sorted(source.glob("*.jpg"))[::3]
    wrong = [f for f in sorted(source.glob("*.jpg")) if f.read_bytes()[:2] != b"\xff\xd8"]
    root, copies = tmp_path / "pets", {}
    for i, file in enumerate(sorted({*files, *wrong})):
        breed = file.stem.rpartition("_")[0]
        split = "test" if i % 5 == 0 else "train"
        (root / split / breed).mkdir(parents=True, exist_ok=True)
        (root / split / breed / file.name).symlink_to(file)
        if i % 20 == 1 and file not in wrong:  # an original in train gets a copy in test
            kind = ("exact", "half", "quality60", "mirrored")[i // 20 % 4]
            copy = f"test/{breed}/{kind}_{file.name}"
            image = Image.open(file).convert("RGB")
            put(root / copy, COPIES[kind](image)[0] if kind != "exact" else b"")
            if kind == "exact":
                shutil.copyfile(file, root / copy)
            copies[copy] = f"train/{breed}/{file.name}"
    findings, _ = run(root, tmp_path / "out")
    groups = [{m.key for m in g.members} for g in findings.duplicates]
    assert len(copies) >= 15
    for pair in copies.items():
        assert any(set(pair) <= group for group in groups), pair
    others = [g for g in groups if not any(set(pair) <= g for pair in copies.items())]
    assert len(others) <= 6  # the data have six pairs of their own
    assert {Path(e.key).name for e in findings.wrong_endings} == {f.name for f in wrong}
    assert not findings.undecodable
    assert load_dataset(f"folder:{root}").examples("test")
