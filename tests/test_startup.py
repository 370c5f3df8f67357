"""Which modules the command line imports, and its messages for unknown names."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
from importlib.metadata import version

import numpy as np
import pytest

from conftest import encoded, fails, picture
from rezoo.cli.main import cli as cli_group
from rezoo.data.dataset_references import dataset_spec
from rezoo.errors import UnknownNameError
from rezoo.evaluation.predictions import collect
from rezoo.tasks import SINGLE_LABEL

FRAMEWORKS = {"tensorflow", "keras", "jax", "sklearn", "safetensors", "huggingface_hub"}
HEAVY = {*FRAMEWORKS, "numpy", "matplotlib", "jinja2", "PIL", "psutil"}

# Runs the command line and writes the loaded top-level modules to a file.
PROBE = """
import atexit, json, sys
file, sys.argv = sys.argv[1], ["rezoo", *sys.argv[2:]]
def note():
    names = sorted({name.partition(".")[0] for name in sys.modules})
    open(file, "w").write(json.dumps(names))
atexit.register(note)
from rezoo.cli.main import main
main()
"""

# Does the same for several command lines, one after the other in one process.
SEVERAL = """
import contextlib, io, json, sys
from rezoo.cli.main import main
answers = []
for line in json.load(sys.stdin):
    sys.argv, streams = ["rezoo", *line], [io.TextIOWrapper(io.BytesIO(), "utf-8") for _ in "oe"]
    with contextlib.redirect_stdout(streams[0]), contextlib.redirect_stderr(streams[1]):
        try:
            main()
        except SystemExit as end:
            code = end.code
    for stream in streams:
        stream.seek(0)
    names = sorted({name.partition(".")[0] for name in sys.modules})
    answers.append([code, *(stream.read() for stream in streams), names])
json.dump(answers, sys.stdout)
"""


@pytest.fixture
def loaded(tmp_path):
    """Run a command in a new Python process; return it and the top-level modules it loaded."""

    def run(*args: str) -> tuple[subprocess.CompletedProcess[str], set[str]]:
        file = tmp_path / "modules.json"
        done = subprocess.run(
            [sys.executable, "-c", PROBE, str(file), *args],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            timeout=60,
        )
        return done, set(json.loads(file.read_text()))

    return run


def test_import_loads_nothing_else():
    code = "import sys, rezoo; print(sorted(m for m in sys.modules if m.startswith('rezoo')))"
    code += "; print(sorted({m.partition('.')[0] for m in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    own, every = done.stdout.splitlines()
    assert own == "['rezoo']"
    assert not {*HEAVY, "rich", "click", "tomli_w"} & set(re.findall(r"\w+", every))


@pytest.mark.parametrize(
    "args", [["--help"], ["-h"], ["--version"], ["launch", "--help"], ["train", "--help"], []]
)
def test_help_and_version_load_nothing_heavy(loaded, args):
    done, modules = loaded(*args)
    assert not modules & {*HEAVY, "rich"}
    assert done.returncode == (0 if args else 2)
    if args == ["--version"]:
        assert done.stdout == f"rezoo {version('rezoo')}\n"
    else:
        assert "Usage:" in done.stdout + done.stderr


def test_help_names_commands_and_exit_codes(loaded):
    text = loaded("--help")[0].stdout
    for command in ("benchmark", "doctor", "eval", "export", "info", "list", "predict", "train"):
        assert re.search(rf"^  {command}  +\S", text, re.MULTILINE)
    assert "130 Ctrl-C, 143 SIGTERM" in " ".join(text.split())


def test_list_loads_nothing_heavy(loaded):
    done, modules = loaded("list")
    assert done.returncode == 0
    assert not modules & HEAVY
    for name in ("resnet18", "resnet152", "digits", "oxford_iiit_pet", "folder:PATH", "quick"):
        assert name in done.stdout
    assert done.stdout.index("resnet50") < done.stdout.index("resnet101")  # natural order


def test_list_json(loaded):
    done, modules = loaded("list", "--json")
    assert not modules & {*HEAVY, "rich"}
    tables = json.loads(done.stdout)
    assert list(tables) == ["models", "datasets", "recipes"]
    ours = [row["name"] for row in tables["models"] if row["from"].startswith("rezoo ")]
    assert len(ours) == 171
    assert ours[:3] == ["ecaresnet26t", "ecaresnet50d", "ecaresnet50t"]
    assert {"resnet50", "resnet50d", "resnet50_v1", "wide_resnet50_2", "vgg16"} < set(ours)
    only = json.loads(loaded("list", "--recipes", "--json")[0].stdout)
    assert list(only) == ["recipes"]
    assert {"finetune", "quick", "scratch", "tv_v2"} < {row["name"] for row in only["recipes"]}


WRONG = [
    (["train", "resent50"], "unknown model 'resent50'", "Did you mean resnet50"),
    (["train", "ResNet-18"], "unknown model 'ResNet-18'", "Did you mean resnet18"),
    (["eval", "resnet51"], "unknown model 'resnet51'", "resnet50"),
    (["benchmark", "resnet51"], "unknown model 'resnet51'", "resnet50"),
    (["benchmark", "resnet18", "--rounds", "0"], "rounds: 0", "1 to 1000"),
    (["predict", "resnet51", "a.jpg"], "unknown model 'resnet51'", "resnet50"),
    (["info", "digit"], "'digit'", "Did you mean digits"),
    (["info", "qick"], "'qick'", "Did you mean quick"),
    (["train", "resnet18", "--dataset", "digit"], "unknown dataset 'digit'", "digits"),
    (["train", "resnet18", "--dataset", "fodler:x"], "unknown dataset 'fodler:x'", "Hint"),
    (["train", "resnet18", "--dataset", "folder:"], "is incomplete", "folder:PATH"),
    (["train", "resnet18", "--recipe", "quik"], "unknown recipe 'quik'", "quick"),
    (["train", "resnet18", "--set", "learningrate=1"], "'learningrate'", "learning_rate"),
    (["train", "resnet18", "--set", "momentum"], "not KEY=VALUE", "momentum=0.8"),
    (["train", "resnet18", "--epochs", "0"], "epochs = 0", "1 or more"),
    (["train", "resnet18", "--epochs", "x"], "not a valid integer", "--epochs"),
    (["train", "resnet18", "--epochs", "1", "--set", "epochs=2"], "set twice", "once"),
    (["train", "resnet18", "--nosuch"], "No such option", "--nosuch"),
    (["trian"], "No such command", "trian"),
    (["eval"], "Missing argument", "MODEL"),
    (["eval", "resnet18", "--split", "tset"], "'tset'", "test"),
    (["list", "a", "extra"], "unexpected extra argument", "extra"),
    (["train", "resnet18", "--devices", "0"], "--devices", "x>=1"),
    (["train", "resnet18", "--device", "tpu"], "'tpu'", "write cpu, gpu or gpu:0"),
    (["train", "resnet18", "--device", "gpu:0", "--devices", "2"], "is one device", "--devices"),
    (["train", "resnet18", "--max-time", "0"], "not a duration", "90s"),
    (["eval", "resnet18", "--batch-size", "0"], "--batch-size", "x>=1"),
    (["eval", "resnet18", "--image-size", "0"], "--image-size", "1<=x<=8192"),
    (["predict", "resnet18", "a.jpg", "--top-k", "0"], "--top-k", "x>=1"),
]
MISSING = [
    (["train", "./nosuch"], 3, "no such folder: ./nosuch"),
    (["eval", "no/such/run"], 3, "no such folder: no/such/run"),
    (["predict", "/no/such", "a.jpg"], 3, "no such folder: /no/such"),
    (["train", "resnet18", "--recipe", "nosuch.toml"], 3, "cannot read the recipe nosuch.toml"),
    (["train", "resnet18", "--dataset", "folder:/no/such"], 3, "no such folder: /no/such"),
    (["train", "resnet18", "--dataset", "csv:/no/such"], 3, "no such file: /no/such"),
    (["train", "resnet18", "--ignore", "nosuch.txt"], 3, "cannot read the list nosuch.txt"),
    (["train", "resnet18", "--dataset", "folder:no images"], 3, "no images in no images"),
    (["train", "resnet18", "--dataset", "no images"], 3, "skipped: 1 × .txt (read me.txt)"),
    (["benchmark", "resnet18", "--device", "gpu"], 6, "there is no GPU here"),
    (["data", "check", "folder:/no/such"], 3, "no such folder: /no/such"),
    (["data", "show", "folder:/no/such"], 3, "no such folder: /no/such"),
    (["data", "prepare", "folder:/no/such"], 3, "no such folder: /no/such"),
    (["eval", "hf://someone/../x"], 2, "not a repository of the Hub"),
    (["eval", "resnet50.a9_in1k"], 2, "unknown weights 'resnet50.a9_in1k'"),
    (["train", "resnet18", "--dataset", "flat"], 2, "flat has 1 images and no class folders"),
    (["train", "resnet18", "--dataset", "one class"], 2, "has only one class, 'cat'"),
    (["train", "resnet18", "--dataset", "labels.csv"], 2, "labels.csv has the columns file, class"),
    (["train", "resnet18", "--dataset", "photos/x"], 3, "no such folder or table: photos/x"),
    (["train", "resnet18", "--dataset", "me/photos"], 3, "is written hf:me/photos"),
    (["train", "resnet18", "--dataset", "flat/a.jpg"], 2, "flat/a.jpg is a file, and no .csv"),
    (["train", "resnet18", "--dataset", "mnist"], 2, "Others are folder:PATH, csv:PATH, tfds:NAME"),
    (["predict", "labels.csv", "flat"], 2, "labels.csv is a file; a model is a name"),
    (["predict", "./one class", "flat"], 3, "one class has no config.json"),
    (["eval", "missing/"], 3, "Hint: check the path.\n"),
]


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """What each of these command lines answered, and the top-level modules loaded by then."""
    folder = tmp_path_factory.mktemp("several")
    (folder / "no images").mkdir()
    (folder / "no images" / "read me.txt").write_text("")
    for place, name in enumerate(("flat/a.jpg", "one class/cat/a.jpg", "one class/cat/b.jpg")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(encoded(picture(place)))
    (folder / "labels.csv").write_text("file,class\n")
    return several([args for args, *_ in [*WRONG, *MISSING]], folder)


def several(lines: list[list[str]], folder) -> dict[tuple[str, ...], list]:
    """Run command lines in one new process; return code, stdout, stderr and modules of each."""
    done = subprocess.run(
        [sys.executable, "-c", SEVERAL],
        input=json.dumps(lines),
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
        timeout=120,
    )
    return {tuple(line): a for line, a in zip(lines, json.loads(done.stdout), strict=True)}


@pytest.mark.parametrize(("args", "message", "near"), WRONG)
def test_wrong_use_is_answered_without_a_framework(answers, args, message, near):
    code, out, err, modules = answers[tuple(args)]
    assert code == 2, err
    assert not FRAMEWORKS & set(modules)
    assert out == ""
    assert "Traceback" not in err
    assert message in err
    assert near in err


@pytest.mark.parametrize(("args", "rc", "message"), MISSING)
def test_missing_paths_are_answered_without_a_framework(answers, args, rc, message):
    code, _, err, modules = answers[tuple(args)]
    assert code == rc
    assert not FRAMEWORKS & set(modules)
    assert message in err


def test_a_missing_repository_is_answered_by_the_hubs_client_alone(loaded):
    done, modules = loaded("eval", "hf://someone/something")
    assert done.returncode == 4
    assert modules & FRAMEWORKS == {"huggingface_hub"}
    assert "HF_HUB_OFFLINE forbids to fetch it" in done.stderr


def test_wrong_use_of_a_run_is_answered_without_a_framework(trained, tmp_path):
    run, gone = str(trained), "folder:/no/such"
    (tmp_path / "there.csv").write_text("")
    wrong = (
        (["predict", run, "nosuch.jpg"], 3, "no such file, folder or match: nosuch.jpg"),
        (["predict", run, "nosuch.jpg", "--explain", "maps", "--class", "33"], 2, "no class '33'"),
        (["train", "resnet18", "--output", run], 2, "already holds a run"),
        (["eval", run, "--dataset", gone], 3, "no such folder: /no/such"),
        (["eval", run, "--unknown", gone], 3, "no such folder: /no/such"),
        (["eval", run, "--csv", "there.csv"], 2, "there.csv exists"),
        (["eval", run, "--bad-limit", "2"], 2, "bad_limit: 2.0"),
        (["export", run, "--to", "onxx"], 2, "Did you mean onnx"),
        (["export", run, "--to", "onnx", "--output", "there.csv"], 2, "there.csv is a file"),
        (["verify", f"{run}/.."], 3, f"name one of the folders in it: {run}/../{trained.name}."),
        (["export", run, "--to", "onnx", "--dataset", gone], 3, "no such folder: /no/such"),
        (["calibrate", run, "--dataset", gone], 3, "no such folder: /no/such"),
    )
    answers = several([args for args, *_ in wrong], tmp_path)
    for args, rc, message in wrong:
        code, out, err, modules = answers[tuple(args)]
        assert (code, out) == (rc, ""), err
        assert message in err
        assert not FRAMEWORKS & set(modules)


def test_json_of_a_command_that_fails_is_empty(tmp_path):
    """Each command that answers in JSON prints nothing on stdout if it fails."""
    wrong = {
        "list": ["--sort", "nosuch"],
        "info": ["nosuch"],
        "train": ["nosuch"],
        "eval": ["nosuch"],
        "examine": ["nosuch", "--lesion"],
        "calibrate": ["./nosuch"],
        "predict": ["nosuch", "a.jpg"],
        "compare": ["nosuch", "nosuch2"],
        "export": ["nosuch", "--to", "onnx"],
        "benchmark": ["nosuch"],
        "verify": ["nosuch"],
        "push": ["./nosuch", "me/photos", "--yes"],
        "doctor": ["nosuch"],
        "data prepare": ["nosuch"],
        "data check": ["nosuch"],
        "data show": ["nosuch"],
    }
    lines = [[*name.split(), *words, "--json"] for name, words in wrong.items()]
    for code, out, err, modules in several(lines, tmp_path).values():
        assert (code in (2, 3), out) == (True, ""), err
        assert err.startswith(("Error: ", "Usage: "))
        assert not FRAMEWORKS & set(modules)
    answering = {" ".join(path) for path in commands(cli_group) if takes_json(cli_group, path)}
    assert answering - {path for path in answering if path.startswith("plugin")} == {*wrong}


def commands(group, path=()):
    for name, command in group.commands.items():
        inside = getattr(command, "commands", None)
        yield from commands(command, (*path, name)) if inside else [(*path, name)]


def takes_json(group, path) -> bool:
    for name in path:
        group = group.commands[name]
    return any(parameter.name == "as_json" for parameter in group.params)


def test_a_path_as_a_dataset_is_its_reference(photographs, tmp_path, monkeypatch):
    photographs({"digits/cat": 1, "photos/cat": 1}, root=tmp_path)
    (tmp_path / "labels.csv").write_text("path,label\n")
    lines = [
        ["train", "resnet18", "--recipe", "nosuch", "--dataset", name]
        for name in ("photos", "./photos", "labels.csv", "digits")
    ]
    answers = [err for _, _, err, _ in several(lines, tmp_path).values()]
    notes = [err.splitlines()[0] for err in answers]
    assert notes == [
        "Note: photos is read as folder:photos",
        "Note: ./photos is read as folder:./photos",
        "Note: labels.csv is read as csv:labels.csv",
        "Note: the dataset digits is used; what has that name here is folder:digits",
    ]
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnknownNameError, match="unknown dataset 'photos'") as caught:
        dataset_spec("photos")
    assert "write folder:photos" in caught.value.hint


@pytest.mark.ci  # a process of 0.5 s
def test_files_of_predictions_are_compared_without_a_framework(loaded, tmp_path):
    truth, right = np.arange(6) % 3, np.eye(3, dtype=np.float32)[np.arange(6) % 3]
    for name, logits in (("a", right), ("b", 1 - right)):
        found = collect(SINGLE_LABEL, lambda x: x, [(logits, truth)])
        keys = tuple(map(str, range(6)))
        facts = {"model": name, "dataset": "pets", "split": "test"}
        dataclasses.replace(found, keys=keys, facts=facts).write(tmp_path / f"{name}.npz")
    done, modules = loaded("compare", "a.npz", "b.npz")
    assert done.returncode == 0, done.stderr
    assert "b.npz is worse than a.npz by 100.00 points" in done.stdout
    assert not modules & FRAMEWORKS


def test_a_name_like_no_other_is_not_answered_with_all_names():
    from rezoo.sources.references import resolve

    with pytest.raises(UnknownNameError) as caught:
        resolve("zzzz")
    assert "no residual network of this zoo; rezoo list --models shows all" in caught.value.hint


def test_near_names_are_several():
    from rezoo.sources.references import resolve

    with pytest.raises(UnknownNameError, match="unknown model 'resnet5'") as caught:
        resolve("resnet5")
    assert " or " in caught.value.hint
    assert "resnet50" in caught.value.hint


def test_public_names():
    import rezoo

    assert set(rezoo.__all__) <= set(dir(rezoo))
    for name in rezoo.__all__:
        assert getattr(rezoo, name) is not None
    assert rezoo.__version__ == version("rezoo")
    with pytest.raises(AttributeError, match="'rezoo' has no attribute 'tarin'"):
        _ = rezoo.tarin


def test_console_script_is_installed():
    from importlib.metadata import entry_points

    (script,) = entry_points(group="console_scripts", name="rezoo")
    assert script.value == "rezoo.cli.main:main"


@pytest.mark.parametrize("args", [["list"], ["list", "--json"], ["--help"]])
def test_reader_that_stops_early(cli, args):
    """`rezoo list | head -1` ends quietly."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as closed:
        answer = cli(*args, stdout=closed)
    assert (answer.rc, answer.err) == (0, "")


@pytest.mark.parametrize(
    "encoding", ["ascii", pytest.param("cp1252", marks=pytest.mark.ci), "utf-8"]
)
def test_any_encoding_of_the_terminal(cli, encoding):
    answer = cli("list", env={"PYTHONIOENCODING": encoding}, encoding=encoding)
    assert answer.rc == 0, answer.err
    assert "resnet50" in answer.out
    document = cli("list", "--json", env={"PYTHONIOENCODING": encoding}, encoding=encoding)
    assert "models" in json.loads(document.out)


def test_no_escape_codes_without_a_terminal(cli):
    answer = cli("list")
    assert "\x1b" not in answer.out + answer.err


def test_debug_shows_where(cli):
    answer = cli("train", "nosuch", env={"REZOO_DEBUG": "1"})
    assert answer.rc == 1
    assert "Traceback" in answer.err
    assert "UnknownNameError" in answer.err
    fails(cli("train", "nosuch"), 2, "Error: unknown model 'nosuch'", "Hint: ")
