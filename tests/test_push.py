"""`rezoo push`: what is sent, what is refused before it is, and what a reader finds."""

from __future__ import annotations

import html.parser
import json
import os
import re
import shutil

import numpy as np
import pytest
import yaml
from huggingface_hub import ModelCard, constants

import rezoo
from conftest import fails
from hub_fixtures import TOKEN
from hub_stand_in import Fault, leave_out_waits
from rezoo.artifacts import manifest, run_files
from rezoo.artifacts.card import MARK, model_card
from rezoo.artifacts.config import read_config, read_json
from rezoo.artifacts.safetensors import read_tensors
from rezoo.errors import (
    AccessError,
    IncompatibleError,
    IntegrityError,
    NetworkError,
    NotFoundError,
    SpecError,
    UnsafeFileError,
)
from rezoo.evaluation.forward import compiled_forward
from rezoo.publishing.plan import plan_push
from rezoo.publishing.push import push
from rezoo.sources.hub_client import endpoint
from rezoo.utils.files import record, write_json
from rezoo.utils.lock import locked

REPO = "me/digits"
READ_TOKEN = "hf_readREADreadREADreadREAD0123"
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
def run(finished_run, tmp_path):
    """A copy of a run that may be changed."""
    return shutil.copytree(finished_run, tmp_path / "run")


@pytest.fixture
def owner(hub, monkeypatch):
    """A Hub that lets us write."""
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    return hub


def test_what_is_pushed(owner, run):
    (run / "notes.txt").write_text("mine")
    (run / ".env").write_text("SECRET=1")
    done = push(run, REPO, licence="cc-by-4.0")
    there = owner.files(REPO)
    wanted = {n for n in run_files.PUBLISHED if (run / n).exists()}
    assert set(there) - {".gitattributes"} == wanted
    assert not {"notes.txt", ".env", "checkpoints/last.safetensors"} & set(there)
    for name in wanted - {"config.json", "report.html"}:
        assert there[name] == (run / name).read_bytes(), name
    own, sent = (json.loads(c) for c in ((run / "config.json").read_bytes(), there["config.json"]))
    assert sent["files"].pop("report.html") != own["files"].pop("report.html")
    assert sent | {"checksum": ""} == own | {"checksum": ""}
    assert b"rezoo verify ." in there["report.html"]
    assert b">run folder<" in (run / "report.html").read_bytes()
    assert b">run folder<" not in there["report.html"]
    assert rezoo.verify(str(run)).holds
    assert done.commit == owner.commit_of(REPO)
    assert len(owner.commits(REPO)) == 2  # the repository's own first one, and one of ours
    assert not any("pullRequest" in r.path or "discussions" in r.path for r in owner.requests)


def test_round_trip(owner, run, tmp_path):
    """Push, forget everything, load by the commit: the same logits to the bit."""
    images, _ = read_tensors(run / "reference.safetensors")
    before = compiled_forward(rezoo.load(str(run)))(images["inputs"])
    done = push(run, REPO)
    shutil.rmtree(run)
    model = rezoo.load(done.reference)
    assert model.rezoo_origin.commit == done.commit
    assert np.array_equal(compiled_forward(model)(images["inputs"]), before)
    assert rezoo.verify(done.reference).holds


def test_a_second_push_changes_nothing(owner, run):
    first = push(run, REPO)
    again = push(run, REPO)
    assert first.changed
    assert not again.changed
    assert again.commit == first.commit
    assert len(owner.commits(REPO)) == 2


def test_only_what_changed_is_sent(owner, run):
    push(run, REPO)
    rezoo.verify(str(run))
    (run / "recipe.toml").write_text((run / "recipe.toml").read_text() + "\n")
    manifest.update_manifest(run, ("recipe.toml",))
    states = {u.name: u.state for u in plan_push(run, REPO).uploads}
    assert {n for n, s in states.items() if s == "changed"} == {"recipe.toml", "config.json"}
    owner.requests.clear()
    push(run, REPO)
    assert not any(r.method == "PUT" for r in owner.requests)


def test_private(owner, run):
    push(run, REPO, private=True)
    model_info = [r for r in owner.requests if r.path == "/api/repos/create"]
    assert json.loads(model_info[0].body)["visibility"] == "private"
    push(run, "me/open")
    with pytest.raises(IncompatibleError, match="exists and is public"):
        push(run, "me/open", private=True)


# refused before anything is sent


def no_writes(hub) -> bool:
    return not any(r.method in ("POST", "PUT") for r in hub.requests)


def test_h14_tokens(hub, run, monkeypatch):
    with pytest.raises(AccessError, match="needs a token"):
        push(run, REPO)
    monkeypatch.setenv("HF_TOKEN", READ_TOKEN)
    with pytest.raises(AccessError, match="may only read"):
        push(run, REPO)
    monkeypatch.setenv("HF_TOKEN", "hf_expiredEXPIREDexpiredEXPIRED")
    with pytest.raises(AccessError, match="expired"):
        push(run, REPO)
    assert no_writes(hub)


def test_token_of_a_login(hub, run, monkeypatch):
    from pathlib import Path

    path = Path(constants.HF_TOKEN_PATH)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(TOKEN)
    assert push(run, REPO).changed


def test_h14_readme_of_someone_else(owner, run):
    owner.add(REPO, {"README.md": b"my own words"})
    before = owner.commit_of(REPO)
    with pytest.raises(IncompatibleError, match=r"README\.md that rezoo did not write"):
        push(run, REPO)
    assert owner.commit_of(REPO) == before
    push(run, REPO, force=True)
    assert MARK.encode() in owner.files(REPO)["README.md"]


def test_a_card_of_ones_own_is_kept_and_pushed_again(owner, run):
    (run / "README.md").write_text("# My network\n")
    push(run, REPO)
    assert owner.files(REPO)["README.md"] == b"# My network\n"
    (run / "README.md").write_text("# My network, second edition\n")
    assert push(run, REPO).changed
    assert owner.files(REPO)["README.md"] == b"# My network, second edition\n"


def test_h14_repository_that_changes_meanwhile(owner, run):
    push(run, REPO)
    (run / "history.csv").write_text((run / "history.csv").read_text() + "2\n")
    manifest.update_manifest(run, ("history.csv",))
    head = owner.commit_of(REPO)
    meanwhile = Fault(
        "then",
        match="/preupload/",
        times=1,
        action=lambda: owner.add(REPO, {"other.txt": b"someone else's"}),
    )
    owner.faults = [meanwhile]
    with pytest.raises(IncompatibleError, match="was changed by someone else"):
        push(run, REPO)
    assert owner.commits(REPO)[-1].files["other.txt"] == b"someone else's"
    assert owner.commits(REPO)[-2].id == head


def test_h14_push_that_is_cut_is_done_again(owner, run):
    owner.faults = [Fault.status(500, match="/commit/", method="POST", times=1)]
    with pytest.raises(NetworkError, match="500"):
        push(run, REPO)
    assert len(owner.commits(REPO)) == 1  # never half a model
    owner.requests.clear()
    push(run, REPO)
    assert not any(r.method == "PUT" for r in owner.requests)  # the weights were there already
    rezoo.load(f"hf://{REPO}@{owner.commit_of(REPO)}")


def test_answer_that_is_lost(owner, run):
    owner.faults = [Fault("cut", match="/commit/", method="POST", times=1, after=0)]
    done = push(run, REPO)
    assert done.commit == owner.commit_of(REPO)
    assert len(owner.commits(REPO)) == 2


@pytest.mark.filterwarnings("ignore::rezoo.errors.HubWarning")
def test_upload_that_breaks(owner, run, monkeypatch):
    leave_out_waits(monkeypatch)
    owner.faults = [Fault.status(500, method="PUT")]
    with pytest.raises(NetworkError):
        push(run, REPO)
    assert len(owner.commits(REPO)) == 1


@pytest.mark.parametrize("name", ["history.csv", "README.md", "recipe.toml"])
def test_h15_secrets_are_not_sent(owner, run, name):
    path = run / name
    before = "2," if name == "history.csv" else "# "
    path.write_text(f"{path.read_text()}{before}hf_abcdefghijklmnopqrstuvwx\n")
    manifest.update_manifest(run, (name,))
    if name == "README.md":  # a card of one's own stays as it is
        path.write_text(path.read_text().replace(MARK, ""))
    with pytest.raises(
        UnsafeFileError, match=rf"{name}, line \d+, contains what looks like a token"
    ):
        push(run, REPO)
    assert no_writes(owner)


LINKED = ("report.html", "history.csv", "curves.svg", "README.md", "config.json")


@pytest.mark.parametrize("name", LINKED)
def test_links_are_not_followed(owner, call, run, name):
    """The manifest of a folder from elsewhere lists the file behind the link, as it is there."""
    secret = run.parent / "secret"
    shutil.copy(run / name, secret)
    (run / name).unlink()
    (run / name).symlink_to("../secret")
    if name != "config.json":
        listed = {**read_config(run).files, name: record(secret)}
        write_json(run / "config.json", manifest.with_manifest(read_json(run), listed))
    answer = call("push", run, REPO, "--yes")
    fails(answer, 5, f"{name} is a link, not a regular file", "a copy of the file itself")
    answer = call("verify", run, "--record", "--overwrite")
    fails(answer, 5, f"{name} is a link, not a regular file")
    assert (run / name).is_symlink()
    assert no_writes(owner)


def test_special_files_are_not_opened(owner, call, run):
    (run / "history.csv").unlink()
    os.mkfifo(run / "history.csv")
    fails(call("push", run, REPO, "--yes"), 5, "history.csv is a FIFO, not a regular file")
    with pytest.raises(UnsafeFileError, match=r"history\.csv is a FIFO"):
        manifest.write_manifest(run)
    (run / "history.csv").unlink()
    (run / "history.csv").symlink_to("/proc/self/environ")
    with pytest.raises(UnsafeFileError, match=r"history\.csv is a link"):
        manifest.write_manifest(run)
    with pytest.raises(UnsafeFileError, match=r"history\.csv is a link"):
        manifest.update_manifest(run, ("history.csv",))


def test_only_what_the_manifest_lists_is_pushed(owner, run):
    content = read_json(run)
    listed = {n: r for n, r in read_config(run).files.items() if n != "curves.svg"}
    write_json(run / "config.json", manifest.with_manifest(content, listed))
    push(run, REPO)
    assert "curves.svg" not in owner.files(REPO)
    (run / "id_rsa").write_text("mine")
    listed["id_rsa"] = record(run / "id_rsa")
    write_json(run / "config.json", manifest.with_manifest(content, listed))
    with pytest.raises(IncompatibleError, match="id_rsa, which is not a file of a run"):
        push(run, REPO)


def replace_by_link(path):
    path.rename(path.with_name("was"))
    path.symlink_to("was")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda path: path.write_bytes(b"\0" * path.stat().st_size), IntegrityError, "was changed"),
        (replace_by_link, UnsafeFileError, "is a link"),
        (os.unlink, NotFoundError, "cannot read"),
    ],
)
@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "history.csv"])
def test_file_that_changes_while_the_user_is_asked(owner, run, name, change, error, message):
    def confirm(plan):
        change(run / name)
        return True

    with pytest.raises(error, match=message):
        push(run, REPO, confirm=confirm)
    assert no_writes(owner)


def test_file_that_changes_during_the_upload(owner, run):
    """What is sent is what was checked, whatever happens to the files."""
    before = {name: (run / name).read_bytes() for name in ("model.safetensors", "history.csv")}

    def change():
        for name in before:
            (run / name).write_bytes(b"changed")

    owner.faults = [Fault("then", match="/preupload/", times=1, action=change)]
    push(run, REPO)
    assert {name: owner.files(REPO)[name] for name in before} == before


def test_card_that_is_not_in_utf_8(owner, call, run):
    (run / "README.md").write_bytes("# Mein Netz\n\nfür Möwen\n".encode("latin-1"))
    fails(call("push", run, REPO, "--yes"), 5, "README.md, line 3, is not UTF-8", "save it in")
    fails(call("push", run, REPO, "--dry-run"), 5, "README.md, line 3, is not UTF-8")


def test_half_a_surrogate_pair_in_the_records(owner, call, run):
    text = (run / "config.json").read_text()
    (run / "config.json").write_text(text.replace('"rezoo_version"', '"note": "\\ud800", "v"'))
    fails(call("push", run, REPO, "--yes"), 6, r"config.json: key 'note': '\ud800' is not Unicode")
    (run / "config.json").write_text(text)
    metrics = (run / "metrics.json").read_text()
    (run / "metrics.json").write_text(metrics.replace('"digits"', r'"\udcff"'))
    with pytest.raises(IncompatibleError, match=r"metrics\.json: key 'dataset'"):
        model_card(run)


def test_run_that_differs_from_its_manifest(owner, run):
    (run / "metrics.json").write_text("{}")
    with pytest.raises(IntegrityError, match=r"metrics\.json has 2 bytes"):
        push(run, REPO)
    assert no_writes(owner)


def test_run_that_is_not_finished(owner, run, tmp_path):
    manifest.remove_manifest(run)
    with pytest.raises(SpecError, match="it has no manifest"):
        push(run, REPO)
    (run / "reference.safetensors").unlink()
    with pytest.raises(SpecError, match=r"it has no reference\.safetensors"):
        push(run, REPO)


@pytest.mark.parametrize("repo", ["digits", "me/../x", "me/a b", "/x", "me/x/y", ""])
def test_names_that_are_none(owner, run, repo):
    with pytest.raises(SpecError, match="not a repository of the Hub"):
        push(run, repo)


def test_licence_as_the_hub_spells_it(owner, run):
    with pytest.raises(SpecError, match=r"such as apache-2\.0"):
        push(run, REPO, licence="do what\nyou want")


# the command


def test_dry_run(owner, call, run):
    answer = call("push", run, REPO, "--dry-run")
    assert answer.rc == 0, answer
    assert f"hf://{REPO} (public), which will be created" in answer.out
    assert re.search(r"model\.safetensors +[\d,]+ +new", answer.out)
    assert "## Accuracy" in answer.out
    document = json.loads(call("push", run, REPO, "--dry-run", "--json").out)
    assert document["exists"] is False
    assert document["card"].startswith("---\n")
    assert no_writes(owner)


def test_dry_run_without_a_network(call, run, monkeypatch):
    answer = call("push", run, REPO, "--dry-run")
    assert answer.rc == 0, answer
    assert "was not reached" in answer.out
    assert "needs a token" in answer.out


def test_nobody_can_be_asked(owner, call, run):
    fails(call("push", run, REPO), 2, "without a terminal", "--yes")
    assert no_writes(owner)


def test_push_command(owner, call, run):
    answer = call("push", run, REPO, "--yes", "--json")
    assert answer.rc == 0, answer
    document = json.loads(answer.out)
    assert document["commit"] == owner.commit_of(REPO)
    assert TOKEN not in answer.out + answer.err
    answer = call("push", run, REPO, "--yes")
    assert "has all of these files already" in answer.out


def test_answering_no(owner, call, run, monkeypatch):
    import io
    import sys

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stdin", Terminal("n\n"))
    answer = call("push", run, REPO)
    fails(answer, 2, "nothing was pushed", "model.safetensors")
    assert no_writes(owner)


# the card


@pytest.mark.ci
def test_test_figures_are_kept_and_shown(call, run):
    assert "No test split has been measured yet" in (run / "README.md").read_text()
    write_json(run / "checkpoints" / "local.json", {"model": "test_resnet", "dataset": "digits"})
    answer = call("eval", run, "--json", "--record")
    assert answer.rc == 0, answer
    result = json.loads(answer.out)
    kept = json.loads((run / "metrics.json").read_text())["test"]
    assert kept["top1"] == result["top1"]
    card = (run / "README.md").read_text()
    assert f"| test | top-1 | {result['top1']:.2%} |" in card
    assert rezoo.verify(str(run)).holds  # with a new manifest
    before = (run / "metrics.json").read_bytes()
    with locked(run, what="training"):
        answer = call("eval", run, "--json", "--record")
    assert answer.rc == 1
    assert "in use: training" in answer.err
    assert json.loads(answer.out)["top1"] == result["top1"]
    assert (run / "metrics.json").read_bytes() == before
    tampered = (run / "metrics.json").read_text().replace('"epochs": 1', '"epochs": 99')
    (run / "metrics.json").write_text(tampered)
    answer = call("eval", run, "--json", "--record")
    assert answer.rc == 5
    assert "was changed since its manifest was written (metrics.json)" in answer.err
    assert not rezoo.verify(str(run)).holds
    before = (run / "metrics.json").read_bytes()
    call("eval", run, "--split", "val", "--record")
    assert call("eval", run, "--image-size", "12", "--record").rc == 2
    assert (run / "metrics.json").read_bytes() == before


def test_card_has_what_a_reader_wants(run):
    text = model_card(run, repo=REPO, licence="CC-BY-4.0")
    card = ModelCard(text)  # the Hub's own reader
    assert card.data.library_name == "rezoo"
    assert card.data.pipeline_tag == "image-classification"
    assert card.data.license == "cc-by-4.0"
    assert card.data.datasets == ["digits"]
    metrics = json.loads((run / "metrics.json").read_text())
    (result, *_) = card.data.eval_results
    assert result.metric_value == pytest.approx(metrics["val"]["top1"], abs=1e-5)
    assert result.dataset_split == "val"
    for heading in ("Use", "Accuracy", "Data", "Preprocessing", "Training", "Limits", "Check it"):
        assert f"\n## {heading}\n" in text
    assert f'rezoo.load("hf://{REPO}")' in text
    assert f'timm.create_model("hf-hub:{REPO}", pretrained=True)' in text
    low, high = metrics["val"]["top1_interval"]
    assert f"{low:.2%} to {high:.2%}" in text
    assert "kWh" in text
    assert str(run.parent) not in text


NASTY = (
    "a: b",
    "---",
    "!!python/object:os.system",
    "[x](http://evil)",
    "<script>alert(1)</script>",
    "{{7*7}}",
    "a | b",
    "`code`",
    "# head",
    "line\nbreak",
    "\x1b[31mred",
    "![x](y)",
    "https://evil.example",
    "www.evil.example",
    ":joy:",
    "<!-- hidden -->",
)


def test_o1_names_cannot_break_the_card(run):
    content = read_json(run)
    content["label_names"] = list(NASTY[:10])
    write_json(run / "config.json", content)
    metrics = json.loads((run / "metrics.json").read_text())
    metrics["data"]["name"] = "x: [y]\n---\nevil: true"
    metrics["val"]["worst_classes"] = [
        {"name": name, "count": 2, "right": 1, "taken_for": [{"name": name, "count": 1}]}
        for name in NASTY
    ]
    write_json(run / "metrics.json", metrics)
    text = model_card(run, repo=REPO)
    head = text.split("\n---\n", 1)[0].removeprefix("---\n")
    assert "evil" not in yaml.safe_load(head)
    body = text.split("\n---\n", 1)[1]
    assert "\x1b" not in body
    # figures of this run may have these digits, too
    assert "49" not in re.sub(r"\d+ (of|images)|[\d.]+%", "", body.split("## Training")[0])
    rendered = rendered_html(body)
    tags = Tags()
    tags.feed(rendered)
    assert "script" not in tags.seen
    assert not [href for href in tags.links if "evil" in href]
    assert "img" not in tags.seen


def rendered_html(text: str) -> str:
    markdown = pytest.importorskip("markdown", reason="it comes with the site's tools")
    return markdown.markdown(text, extensions=["tables", "fenced_code"])


class Tags(html.parser.HTMLParser):
    """Which elements and links a page has."""

    def __init__(self) -> None:
        super().__init__()
        self.seen, self.links = set(), []

    def handle_starttag(self, tag, attrs):
        self.seen.add(tag)
        self.links += [v or "" for k, v in attrs if k in ("href", "src")]


def test_damaged_records(run):
    write_json(run / "metrics.json", {"val": 3, "data": {"name": "x"}, "num_classes": 10})
    with pytest.raises(IncompatibleError, match=r"metrics\.json: key data\.licence is missing"):
        model_card(run)


@pytest.mark.ci
def test_card_of_weights_that_were_recorded(small_repository, tmp_path):
    """Weights from elsewhere have a card that claims nothing about their training."""
    from rezoo.publishing.verify import record_proof

    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes(small_repository[name])
    record_proof(tmp_path)
    text = model_card(tmp_path, repo="me/net")
    assert "trained with rezoo" not in text
    assert "No accuracy of these weights is recorded here." in text


def test_endpoint_is_that_of_the_environment(owner, run):
    assert push(run, REPO).url == f"{owner.url}/{REPO}"
    assert endpoint() == owner.url
    assert os.environ["HF_TOKEN"] == TOKEN
