"""Build the wheel and the source distribution, check them, and use the wheel alone.

    python .ci/package.py build DIST    # needs hatchling; DIST is a new folder
    python .ci/package.py use DIST      # in an environment of its own; needs a package index

`use` takes the Python that runs it: run it with 3.11, 3.12 and 3.13.
"""

from __future__ import annotations

import argparse
import email
import hashlib
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import time
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MAX_WHEEL_BYTES = 2_000_000
IN_WHEEL = (
    "rezoo/py.typed",
    "rezoo/recipes/quick.toml",
    "rezoo/artifacts/imagenet1k.tsv",
    "rezoo/sources/weights.toml",
    "rezoo/utils/templates/card.md",
)
IN_SDIST = (
    "README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "pyproject.toml", "mkdocs.yml",
    "requirements.lock", "images/hero.svg", "tests/conftest.py", "docs/index.md",
    "examples/convnext/pyproject.toml", ".ci/metadata.py", ".ci/package.py", ".ci/run",
)  # fmt: skip


def build(folder: Path) -> None:
    """Build both files into a new folder; the same sources give the same bytes."""
    folder.mkdir(parents=True)
    (sdist,) = _built(ROOT, "sdist", folder)
    (wheel,) = _built(ROOT, "wheel", folder)
    with tempfile.TemporaryDirectory() as scratch:
        with tarfile.open(sdist) as archive:
            # not the argument `filter`, which Python 3.11.2 lacks
            archive.extraction_filter = getattr(tarfile, "data_filter", None)
            archive.extractall(scratch)
        (source,) = Path(scratch).iterdir()
        # a reader of the sdist has no variables: its PKG-INFO has what they said
        (again,) = _built(source, "wheel", Path(scratch, "dist"), links=False)
        if _sha256(again) != _sha256(wheel):
            raise SystemExit(f"{sdist.name} builds another wheel than {wheel.name}")
    for file, faults in ((wheel, wheel_faults(wheel)), (sdist, sdist_faults(sdist))):
        if faults:
            raise SystemExit("\n".join([f"{file.name}:", *faults]))
        print(f"{file.name}: {file.stat().st_size:,} bytes, SHA-256 {_sha256(file)}")


def _built(source: Path, kind: str, folder: Path, *, links: bool = True) -> list[Path]:
    environment = dict(os.environ)
    if not links:
        environment = {k: v for k, v in environment.items() if not k.startswith("REZOO_")}
    command = [sys.executable, "-m", "hatchling", "build", "--target", kind, "-d", str(folder)]
    done = subprocess.run(
        command, cwd=source, env=environment, check=False, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    return list(folder.glob("*.whl" if kind == "wheel" else "*.tar.gz"))


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def wheel_faults(file: Path) -> list[str]:
    """Return what is wrong with a wheel, a line each."""
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        (metadata,) = [name for name in names if name.endswith(".dist-info/METADATA")]
        text = archive.read(metadata).decode()
    info = metadata.removesuffix("METADATA")
    faults = [f"lacks {name}" for name in sorted({*IN_WHEEL} - {*names})]
    strange = [name for name in names if not name.startswith(("rezoo/", info))]
    strange += [name for name in names if re.search(r"(^|/)(tests/|(test_.*|conftest)\.py$)", name)]
    faults += [f"has {name}, which is not of the package" for name in strange]
    if file.stat().st_size > MAX_WHEEL_BYTES:
        faults.append(f"has more than {MAX_WHEEL_BYTES:,} bytes")
    return faults + _metadata_faults(text)


def sdist_faults(file: Path) -> list[str]:
    """Return what is wrong with a source distribution, a line each."""
    with tarfile.open(file) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
        member = archive.extractfile(f"{file.name.removesuffix('.tar.gz')}/PKG-INFO")
        text = member.read().decode() if member else ""
    return [f"lacks {name}" for name in sorted({*IN_SDIST} - names)] + _metadata_faults(text)


def _metadata_faults(text: str) -> list[str]:
    """Say which links lead nowhere on a page of an index; without an address all may."""
    metadata = email.message_from_string(text)
    if not metadata.get_all("Project-URL"):
        return []
    readme = str(metadata.get_payload())
    targets = re.findall(r"\]\(([^)\s]+)", readme) + re.findall(r'(?:src|href)="([^"]+)', readme)
    return [f"links to {t} in its README" for t in targets if not t.startswith(("https:", "#"))]


def use(folder: Path) -> None:
    """Install the wheel in an empty environment, train, evaluate, verify and export."""
    (wheel,) = folder.resolve().glob("*.whl")
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch, "venv")
        venv.create(place, with_pip=True)
        bin_ = place / ("Scripts" if os.name == "nt" else "bin")
        # nothing of this machine's settings, and nothing of the sources beside it
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("REZOO_", "PYTHON"))}
        kept |= {
            "REZOO_CACHE": scratch,
            "KERAS_HOME": scratch,
            "PIP_NO_COMPILE": "0",
        }  # as in .ci/run

        def run(*command: str) -> str:
            begun = time.monotonic()
            done = subprocess.run(
                [str(bin_ / command[0]), *command[1:]],
                cwd=scratch, env=kept, check=False, capture_output=True, text=True,
            )  # fmt: skip
            print(f"{time.monotonic() - begun:6.1f} s  {' '.join(command)}", flush=True)
            if done.returncode:
                print(done.stdout, done.stderr, flush=True)
                raise SystemExit(f"{command[0]} ended with exit code {done.returncode}")
            return done.stdout

        run("python", "-m", "pip", "install", "-q", f"{wheel}[onnx]")
        print(run("python", "--version").strip(), "with", run("rezoo", "--version").strip())
        train = ("train", "resnet18", "--dataset", "digits", "--epochs", "2")
        trained = json.loads(run("rezoo", *train, "--output", "runs/digits", "--json"))
        json.loads(run("rezoo", "doctor", "--json"))
        top1 = json.loads(run("rezoo", "eval", "runs/digits", "--json"))["top1"]
        run("rezoo", "verify", "runs/digits")
        run("rezoo", "export", "runs/digits", "--to", "onnx")
        print(f"top-1 of {trained['architecture']} on the test split: {top1}")


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("job", choices=["build", "use"])
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    {"build": build, "use": use}[given.job](given.folder.resolve())


if __name__ == "__main__":
    main()
