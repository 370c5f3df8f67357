"""Weights from the Hub: what is fetched, what is checked, and what each failure says and leaves.

The real client talks to a stand-in. Test names begin with the row of the list of failure cases
that they cover: w for weights, h for the Hub.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import constants

import rezoo
from conftest import fails
from hub_fixtures import (
    ARCHITECTURE,
    CLASSES,
    TOKEN,
    catalogue,
    network_tensors,
    sha256,
    timm_config,
)
from hub_stand_in import Fault
from rezoo.errors import (
    AccessError,
    HubNote,
    HubWarning,
    IncompatibleError,
    IntegrityError,
    NetworkError,
    NotFoundError,
    RateLimitError,
    ResourceError,
    RezooError,
    SpecError,
    UnknownNameError,
    UnsafeFileError,
)
from rezoo.models import tensors
from rezoo.sources import hub_fetch
from rezoo.sources.references import resolve

NET = "team/net"


@pytest.fixture
def net(hub, small_repository) -> str:
    """The commit of a small repository."""
    return hub.add(NET, small_repository)


@pytest.fixture
def pinned(net, small_repository, tmp_path, monkeypatch) -> str:
    """The same, pinned by a catalogue of the user's own."""
    path = catalogue(tmp_path, small_repository, commit=net)
    monkeypatch.setenv("REZOO_CATALOGUE", str(path))
    return net


def cache() -> Path:
    return Path(constants.HF_HUB_CACHE)


def cached_files() -> list[str]:
    return sorted(p.name for p in cache().rglob("*") if p.is_file() and ".locks" not in p.parts)


def asked(hub) -> list[str]:
    return [f"{r.method} {r.path}" for r in hub.requests]


# what is fetched


def test_a_repository_becomes_a_model(hub, net, small_repository):
    with pytest.warns(HubWarning, match=f"hf://team/net@main is commit {net} now"):
        model = rezoo.load("hf://team/net")
    wanted = network_tensors(ARCHITECTURE, num_classes=CLASSES)
    for name, value in tensors.to_tensors(model).items():
        if not name.endswith("tracked"):
            np.testing.assert_array_equal(value, wanted[name])
    assert model.rezoo_config.preprocessing.interpolation == "bicubic"
    origin = model.rezoo_origin
    assert (origin.repo, origin.commit) == (NET, net)
    assert origin.sha256 == sha256(small_repository["model.safetensors"])
    fetched = [r.path for r in hub.requests if r.method == "GET"]
    assert not any("pytorch_model" in path or "README" in path for path in fetched)
    assert all(r.headers["user-agent"].startswith("rezoo/") for r in hub.requests)


def test_h10_a_pinned_revision_is_fetched_once(hub, net):
    rezoo.load(f"hf://team/net@{net}")
    hub.requests.clear()
    rezoo.load(f"hf://team/net@{net}")
    rezoo.load(f"hf-hub:team/net@{net}")
    assert asked(hub) == []
    hub.stop()
    rezoo.load(f"hf://team/net@{net}")


def test_a_network_that_is_not_built_ends_a_comparison_before_any_download(hub, net):
    """Twenty networks are not evaluated for half an hour until the last one is refused."""
    other = hub.add("team/other", {"config.json": timm_config("legacy_seresnet18")})
    with pytest.raises(UnknownNameError, match="legacy SENet, which rezoo does not build"):
        rezoo.compare([f"hf://{NET}@{net}", f"hf://team/other@{other}"], "digits")
    assert not [r.path for r in hub.requests if "model.safetensors" in r.path]


def test_h10_main_may_move(hub, net, small_repository, monkeypatch):
    with pytest.warns(HubWarning, match=net):
        rezoo.load("hf://team/net@main")
    later = hub.add(NET, {"config.json": timm_config(crop_pct=0.5)})
    with pytest.warns(HubWarning, match=later):
        model = rezoo.load("hf://team/net")
    assert model.rezoo_config.preprocessing.crop_pct == 0.5
    assert model.rezoo_origin.commit == later
    assert rezoo.load(f"hf://team/net@{net}").rezoo_config.preprocessing.crop_pct == 0.95


def test_main_that_moves_between_two_requests(hub, net):
    """One commit's bytes are never kept under another's name."""
    hub.faults = [
        Fault(
            "then",
            match="config.json",
            method="HEAD",
            times=1,
            action=lambda: hub.add(NET, {"config.json": timm_config(crop_pct=0.55)}),
        )
    ]
    with pytest.warns(HubWarning):
        model = rezoo.load("hf://team/net")
    assert model.rezoo_origin.commit == net
    assert model.rezoo_config.preprocessing.crop_pct == 0.95


def test_tags_and_branches(hub, net):
    hub.move(NET, "v1.0", net)
    with pytest.warns(HubWarning, match=net):
        assert rezoo.load("hf://team/net@v1.0").rezoo_origin.commit == net


# the catalogue's pin


def test_pretrained_means_the_default(hub, pinned):
    model = rezoo.load(ARCHITECTURE, pretrained=True)
    assert model.rezoo_origin.commit == pinned
    assert model.rezoo_origin.licence == "apache-2.0"
    hub.requests.clear()
    rezoo.load(f"{ARCHITECTURE}.mine")
    rezoo.load("hf://team/net")  # known to the catalogue: its pin counts
    assert asked(hub) == []


# entries without a pin


@pytest.fixture
def unpinned(net, small_repository, tmp_path, monkeypatch) -> str:
    """The same, listed without commit and SHA-256."""
    path = catalogue(tmp_path, small_repository, sha256="", default=False)
    monkeypatch.setenv("REZOO_CATALOGUE", str(path))
    return net


def test_weights_without_a_pin_load_at_a_recorded_commit(hub, unpinned, small_repository):
    with pytest.warns(HubNote) as said:
        model = rezoo.load(f"{ARCHITECTURE}.mine")
    (line,) = [str(warning.message) for warning in said]
    assert line.startswith(f"no catalogue has the SHA-256 of {ARCHITECTURE}.mine; hf://team/net@")
    assert line.endswith(f"{unpinned} is checked against the one that the Hub states.")
    origin = model.rezoo_origin
    assert (origin.commit, origin.licence) == (unpinned, "apache-2.0")
    assert origin.sha256 == sha256(small_repository["model.safetensors"])
    hub.add(NET, {"README.md": b"later"})
    with pytest.warns(HubNote, match=hub.commit_of(NET)):  # what main is now
        assert rezoo.load(f"{ARCHITECTURE}.mine").rezoo_origin.commit != unpinned


@pytest.mark.filterwarnings("ignore::rezoo.errors.HubWarning")
def test_weights_without_a_pin_are_checked_against_the_hubs_hash(hub, unpinned, monkeypatch):
    hub.faults = [Fault("wrong_bytes", match="model.safetensors", times=1)]
    with pytest.raises(IntegrityError, match="the Hub says"):
        rezoo.load(f"{ARCHITECTURE}.mine")
    # a cache without links does not name files by their hash, so the Hub is asked
    monkeypatch.setattr(hub_fetch, "hub_record", lambda path: None)
    rezoo.load(f"{ARCHITECTURE}.mine")
    blob = next(p for p in cache().rglob("blobs/*") if len(p.name) == 64)
    blob.write_bytes(blob.read_bytes()[:-1] + b"x")
    with pytest.raises(IntegrityError, match="the Hub says"):
        rezoo.load(f"{ARCHITECTURE}.mine")
    hub.faults = [Fault("no_etag", match="model.safetensors", method="HEAD")]
    with pytest.raises((IntegrityError, NetworkError)):
        rezoo.load(f"{ARCHITECTURE}.mine")


def test_weights_without_a_pin_must_be_what_the_catalogue_says(hub, net, tmp_path, monkeypatch):
    entry = {"sha256": "", "default": False, "crop_pct": 0.9}
    path = catalogue(tmp_path, {"model.safetensors": b""}, **entry)
    monkeypatch.setenv("REZOO_CATALOGUE", str(path))
    with (
        pytest.warns(HubNote),
        pytest.raises(IntegrityError, match=r"crop_pct is 0\.95; the catalogue says 0\.9"),
    ):
        rezoo.load(f"{ARCHITECTURE}.mine")


@pytest.mark.parametrize("reference", [f"{ARCHITECTURE}.mine", "hf://team/net", "hf://team/net@v1"])
def test_require_pinned_refuses_what_may_change(hub, unpinned, reference):
    with pytest.raises(IntegrityError, match="is not pinned: its files are what hf://team/net@"):
        rezoo.load(reference, require_pinned=True)
    assert asked(hub) == []


@pytest.mark.ci
def test_require_pinned_accepts_commits_hashes_folders_and_names(hub, pinned, finished_run):
    for reference in (f"{ARCHITECTURE}.mine", "hf://team/net", f"hf://team/net@{pinned}"):
        assert resolve(reference, require_pinned=True).address.revision == pinned
    assert resolve(finished_run, require_pinned=True).has_weights
    assert not resolve(ARCHITECTURE, require_pinned=True).has_weights


@pytest.mark.parametrize(
    "command",
    [
        ["train", "@", "--dataset", "digits"],
        ["eval", "@", "--dataset", "digits"],
        ["predict", "@", "photo.jpg"],
        ["export", "@", "--to", "keras"],
        ["benchmark", "@"],
        ["info", "@"],
    ],
    ids=lambda command: command[0],
)
def test_require_pinned_of_commands(hub, unpinned, call, command):
    command = [part.replace("@", f"{ARCHITECTURE}.mine") for part in command]
    fails(call(*command, "--require-pinned"), 5, f"{ARCHITECTURE}.mine is not pinned")
    assert asked(hub) == []


def test_timm_repositories_need_no_scheme(hub, small_repository):
    hub.add("timm/small.mine", small_repository)
    with pytest.warns(HubWarning):
        model = rezoo.load("timm/small.mine")
    assert model.count_params() > 0


@pytest.mark.filterwarnings("ignore::rezoo.errors.HubWarning")
def test_w3_h13_other_bytes_of_the_right_length(hub, pinned):
    hub.faults = [Fault("wrong_bytes", match="model.safetensors", times=1)]
    with pytest.raises(IntegrityError, match=r"its SHA-256 is .* the catalogue") as refused:
        rezoo.load(ARCHITECTURE, pretrained=True)
    assert "it was moved to" in refused.value.hint
    assert [n for n in cached_files() if n.endswith(".refused")]
    rezoo.load(ARCHITECTURE, pretrained=True)  # fetched again, and right


def test_w3_without_a_pin_the_hubs_own_hash_counts(hub, net):
    hub.faults = [Fault("wrong_bytes", match="model.safetensors", times=1)]
    with pytest.raises(IntegrityError, match="the Hub says"):
        rezoo.load(f"hf://team/net@{net}")
    rezoo.load(f"hf://team/net@{net}")


def test_w3_config_that_is_not_the_catalogues(hub, net, small_repository, tmp_path, monkeypatch):
    """config.json has no pinned hash: what it says must be what the catalogue says."""
    path = catalogue(tmp_path, small_repository, commit=net, crop_pct=0.9)
    monkeypatch.setenv("REZOO_CATALOGUE", str(path))
    with pytest.raises(IntegrityError, match=r"crop_pct is 0\.95; the catalogue says 0\.9"):
        rezoo.load(ARCHITECTURE, pretrained=True)


@pytest.mark.parametrize("damage", ["flip", "cut"])
def test_w4_cache_that_was_edited(hub, pinned, damage):
    rezoo.load(ARCHITECTURE, pretrained=True)
    (blob,) = [p for p in cache().rglob("blobs/*") if p.stat().st_size > 100_000]
    content = bytearray(blob.read_bytes())
    content[-1] ^= 1
    blob.write_bytes(content if damage == "flip" else content[:100])
    with pytest.raises(IntegrityError):
        rezoo.load(ARCHITECTURE, pretrained=True)
    hub.requests.clear()
    rezoo.load(ARCHITECTURE, pretrained=True)
    assert any("model.safetensors" in path for path in asked(hub))


@pytest.mark.parametrize(
    ("kind", "message"), [("html", "is a web page"), ("lfs_pointer", "is a Git-LFS pointer")]
)
def test_w5_something_else_instead_of_weights(hub, pinned, kind, message):
    hub.faults = [Fault(kind, match="model.safetensors")]
    with pytest.raises(IntegrityError, match=message):
        rezoo.load(ARCHITECTURE, pretrained=True)
    hub.faults = []
    rezoo.load(ARCHITECTURE, pretrained=True)


def test_w5_web_page_instead_of_a_config(hub, pinned):
    hub.faults = [Fault("html", match="config.json")]
    with pytest.raises(IntegrityError, match="not valid JSON") as refused:
        rezoo.load(ARCHITECTURE, pretrained=True)
    assert "it was moved to" in refused.value.hint
    hub.faults = []
    rezoo.load(ARCHITECTURE, pretrained=True)


def test_w14_repository_of_pickles(hub, small_repository):
    files = {n: c for n, c in small_repository.items() if n != "model.safetensors"}
    commit = hub.add("team/old", files)
    with pytest.raises(UnsafeFileError, match=r"only pytorch_model\.bin, which rezoo never opens"):
        rezoo.load(f"hf://team/old@{commit}")
    assert not any("pytorch_model" in r.path for r in hub.requests)


@pytest.mark.parametrize(
    ("config", "error", "message"),
    [
        (b" " * 9_000_000, UnsafeFileError, "at most 8,388,608 are allowed"),
        (b"[" * 100_000, IntegrityError, "not valid JSON"),
        (b'{"architecture": NaN}', IntegrityError, "NaN is not a JSON number"),
        (b'{"a": 1, "a": 2}', IntegrityError, "the key .a. occurs twice"),
        (timm_config("resnet49"), RezooError, "resnet49"),
        (timm_config(num_classes=10**9), IncompatibleError, "allowed is 0 to 1000000"),
        (timm_config(size=10**6), IncompatibleError, "sides are 1 to 8192"),
        (timm_config(custom_load="hf"), IncompatibleError, "runs no code"),
        (timm_config(crop_mode="fit"), IncompatibleError, "crop_mode: 'fit'; allowed are 'center'"),
    ],
)
def test_w18_configs(hub, small_repository, config, error, message):
    commit = hub.add("team/odd", {**small_repository, "config.json": config})
    with pytest.raises(error, match=message):
        rezoo.load(f"hf://team/odd@{commit}")
    assert not any("model.safetensors" in r.path for r in hub.requests if r.method == "GET")


def test_another_format_is_explained(hub):
    config = {"model_type": "resnet", "architectures": ["ResNetForImageClassification"]}
    commit = hub.add("team/transformers", {"config.json": json.dumps(config).encode()})
    with pytest.raises(IncompatibleError, match="transformers"):
        rezoo.load(f"hf://team/transformers@{commit}")
    config = {"module": "keras_hub.src.models", "registered_name": "keras_hub>ResNetBackbone"}
    commit = hub.add("team/keras", {"config.json": json.dumps(config).encode()})
    with pytest.raises(IncompatibleError, match="Keras"):
        rezoo.load(f"hf://team/keras@{commit}")


@pytest.mark.ci
def test_fine_tuning_records_where_it_started(hub, pinned, call, tmp_path, small_repository):
    """`rezoo train ARCH --pretrained`: the commit stands in all that is made from the weights."""
    options = ["--epochs", "1", "--batch-size", "128", "--image-size", "16", "--set", "precision"]
    options[-1:] = ["precision=mixed_bfloat16"]
    answer = call(
        *("train", ARCHITECTURE, "--pretrained", "--dataset", "digits"),
        *(*options, "--output", tmp_path / "run"),
    )
    assert answer.rc == 0, answer
    assert f"weights hf://team/net@{pinned}, licence apache-2.0" in answer.err
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["base_model"] == {
        "repo": NET,
        "commit": pinned,
        "sha256": sha256(small_repository["model.safetensors"]),
        "licence": "apache-2.0",
        "architecture": ARCHITECTURE,
    }
    card = (tmp_path / "run" / "README.md").read_text()
    assert f"base_model: {NET}\nbase_model_relation: finetune" in card
    assert f"/{NET}/tree/{pinned}" in card
    assert rezoo.verify(str(tmp_path / "run")).holds  # in float32, whatever it was trained in
    values = tensors.to_tensors(rezoo.load(str(tmp_path / "run"), num_classes=0))
    assert "fc.weight" not in values


# the network


@pytest.fixture
def impatient(monkeypatch):
    """Give up a silent connection after 0.3 s."""
    for name in ("HF_HUB_ETAG_TIMEOUT", "HF_HUB_DOWNLOAD_TIMEOUT"):
        monkeypatch.setattr(constants, name, 0.3)


@pytest.mark.parametrize("fault", ["hang", "closed"])
def test_h1_hub_that_does_not_answer(hub, net, impatient, fault, caplog):
    if fault == "hang":
        hub.faults = [Fault("hang")]
    else:
        hub.stop()
    begun = time.monotonic()
    with pytest.raises(NetworkError, match=r"127\.0\.0\.1:\d+ was not reached for") as refused:
        rezoo.load("hf://team/net")
    assert "HF_HUB_DOWNLOAD_TIMEOUT" in refused.value.hint
    assert time.monotonic() - begun < 10
    assert cached_files() == []
    # without any connection, as offline, the client does not wait and try again
    assert ("Retrying in" in caplog.text) == (fault == "hang")


@pytest.mark.ci
def test_h1_h4_cached_copy_is_used_with_a_warning(hub, net, impatient):
    with pytest.warns(HubWarning):
        rezoo.load("hf://team/net")
    for faults in ([Fault("hang")], [Fault.status(503)], [Fault.status(500)], [Fault("drop")]):
        hub.faults = faults
        hub.requests.clear()
        with pytest.warns(HubWarning, match=f"using commit {net[:12]} from the cache"):
            rezoo.load("hf://team/net")
        assert len(hub.requests) == 1  # without retries


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        (Fault.bad_token(), AccessError, "is private, or does not exist, or the token has expired"),
        (Fault.status(401, "RepoNotFound"), AccessError, "is private, or does not exist"),
        (Fault.gated(), AccessError, "is gated: its owners decide who may read it"),
        (Fault.status(403), AccessError, "refuses"),
        (Fault.status(404, "RepoNotFound"), NotFoundError, "there is no such repository"),
        (Fault.status(404, "RevisionNotFound"), NotFoundError, "has no such revision"),
        (Fault.status(404, "EntryNotFound"), NotFoundError, "has no such file"),
    ],
    ids=["bad-token", "unauthorized", "gated", "forbidden", "repository", "revision", "file"],
)
def test_h2_refusals(hub, net, fault, error, message):
    hub.faults = [fault]
    with pytest.raises(error, match=message) as refused:
        rezoo.load(f"hf://team/net@{net}")
    assert refused.value.exit_code == {AccessError: 4, NotFoundError: 3}[error]
    assert "hf://team/net" in str(refused.value)
    assert cached_files() == []


def test_h2_the_page_to_ask_for_access_is_named(hub, net):
    hub.faults = [Fault.gated()]
    with pytest.raises(AccessError) as refused:
        rezoo.load(f"hf://team/net@{net}")
    assert f"{hub.url}/team/net" in refused.value.hint


def test_h2_near_names_of_the_catalogue(hub):
    with pytest.raises(AccessError) as refused:
        rezoo.load("hf://timm/resnet50.a1_in1")
    assert "Did you mean hf://timm/resnet50.a1_in1k" in refused.value.hint


def test_h3_rate_limit(hub, net):
    hub.faults = [Fault.rate_limited(7)]
    with pytest.raises(RateLimitError, match="again in 7 s") as refused:
        rezoo.load(f"hf://team/net@{net}")
    assert "a token raises the limit" in refused.value.hint
    assert refused.value.exit_code == 4
    hub.faults = [Fault.rate_limited(7, times=1)]
    rezoo.load(f"hf://team/net@{net}")


@pytest.mark.parametrize("status", [500, 503])
def test_h4_server_errors(hub, net, status):
    hub.faults = [Fault.status(status)]
    with pytest.raises(NetworkError, match=f"answers {status}"):
        rezoo.load(f"hf://team/net@{net}")
    hub.faults = [Fault.status(status, times=1)]
    rezoo.load(f"hf://team/net@{net}")


def test_h5_connection_cut_once(hub, pinned):
    hub.faults = [
        Fault("cut", match="model.safetensors", times=1),
        Fault("ignore_range", match="model.safetensors"),
    ]
    rezoo.load(ARCHITECTURE, pretrained=True)


@pytest.mark.ci
@pytest.mark.parametrize("fault", [Fault("cut", match="model"), Fault("stall", match="model")])
def test_h5_connection_cut_always(hub, pinned, impatient, fault):
    hub.faults = [fault]
    with pytest.raises(NetworkError):
        rezoo.load(ARCHITECTURE, pretrained=True)
    assert not list(cache().rglob("model.safetensors"))
    assert not list(cache().rglob("*.incomplete"))
    hub.faults = []
    rezoo.load(ARCHITECTURE, pretrained=True)


def test_h5_no_length(hub, pinned):
    hub.faults = [Fault("gzip_no_length")]
    rezoo.load(ARCHITECTURE, pretrained=True)


def test_w18_body_that_says_no_length_has_a_limit(hub, small_repository):
    big = {**small_repository, "config.json": b" " * 12_000_000}
    commit = hub.add("team/big", big)
    hub.faults = [Fault("gzip_no_length", method="GET"), Fault("gzip_no_length", method="HEAD")]
    with pytest.raises(UnsafeFileError, match=r"8,388,608"):
        rezoo.load(f"hf://team/big@{commit}")


def test_h6_etag_that_is_missing_or_changes(hub, pinned):
    hub.faults = [Fault("no_etag", match="model.safetensors")]
    with pytest.raises(NetworkError, match="is not that of a Hub"):
        rezoo.load(ARCHITECTURE, pretrained=True)
    hub.faults = [Fault("etag_changes", match="model.safetensors")]
    rezoo.load(ARCHITECTURE, pretrained=True)  # the bytes are pinned: their hash decides


@pytest.mark.filterwarnings("ignore:Not enough free disk space:UserWarning")
def test_h7_disk_that_is_full(hub, full_disk, monkeypatch, small_repository):
    """A disk with too little room is told before anything is sent."""
    big = {**small_repository, "model.safetensors": bytes(2_000_000)}
    commit = hub.add("team/big", big)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(full_disk))
    with pytest.raises(ResourceError, match=r"needs 2,000,000 bytes; .* free"):
        rezoo.load(f"hf://team/big@{commit}")
    monkeypatch.setattr("rezoo.sources.hub_fetch.require_room", lambda *args, **options: None)
    with pytest.raises(ResourceError, match="no space left") as refused:
        rezoo.load(f"hf://team/big@{commit}")
    assert refused.value.exit_code == 9
    assert sum(p.stat().st_size for p in full_disk.rglob("*") if p.is_file()) < 100_000


def test_h8_cache_that_is_a_file(hub, net, tmp_path, monkeypatch):
    (tmp_path / "occupied").write_text("precious")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "occupied"))
    with pytest.raises(ResourceError, match="cannot write the Hub's cache") as refused:
        rezoo.load(f"hf://team/net@{net}")
    assert "HF_HOME" in refused.value.hint
    assert (tmp_path / "occupied").read_text() == "precious"


def test_h8_cache_without_links(hub, pinned, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_SYMLINKS", True)
    monkeypatch.setattr("huggingface_hub.file_download.are_symlinks_supported", lambda *a: False)
    rezoo.load(ARCHITECTURE, pretrained=True)
    rezoo.load(ARCHITECTURE, pretrained=True)


def test_h9_offline(hub, pinned, monkeypatch):
    rezoo.load(ARCHITECTURE, pretrained=True)
    hub.requests.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    rezoo.load(ARCHITECTURE, pretrained=True)
    rezoo.load("hf://team/net")
    with pytest.raises(NetworkError, match=r"config\.json is not on this machine") as no:
        rezoo.load("hf://team/other")
    assert "HF_HUB_OFFLINE=0" in no.value.hint
    assert asked(hub) == []


def test_h11_repository_that_vanished(hub, net, monkeypatch):
    rezoo.load(f"hf://team/net@{net}")
    with pytest.warns(HubWarning):
        rezoo.load("hf://team/net")
    hub.remove(NET)
    rezoo.load(f"hf://team/net@{net}")  # pinned and cached
    with pytest.raises(AccessError):
        rezoo.load("hf://team/net")  # not there, or not for us any more
    shutil.rmtree(cache())
    with pytest.raises(AccessError):
        rezoo.load(f"hf://team/net@{net}")


@pytest.mark.parametrize(
    "text",
    [
        "hf://team/net@../../x",
        "hf://team/net@..",
        "hf://team/net@/etc",
        "hf://team/net@a\\..\\b",
        "hf://team/net@main\n",
        "hf://team/net@C:\\x",
        "hf://team/net@",
        "hf://team/net@" + "a" * 300,
        "hf://team/net@x.lock",
        "hf://../net",
        "hf://team",
        "hf://team/net/model.safetensors",
        "hf://team/ne--t",
        "hf://",
    ],
)
def test_h12_references_that_lead_elsewhere(hub, tmp_path, text):
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SpecError) as refused:
        rezoo.load(text)
    assert refused.value.exit_code == 2
    assert asked(hub) == []
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("key", "value"), [("repo", "../../x"), ("commit", "../../x"), ("commit", "main")]
)
def test_h12_catalogue_that_leads_elsewhere(
    hub, small_repository, tmp_path, monkeypatch, key, value
):
    path = catalogue(tmp_path, small_repository, **{key: value})
    monkeypatch.setenv("REZOO_CATALOGUE", str(path))
    with pytest.raises(RezooError) as refused:
        rezoo.load(ARCHITECTURE, pretrained=True)
    assert refused.value.exit_code == (5 if ".." in value else 2)


@pytest.mark.parametrize("key", ["etag", "commit_hash"])
def test_h12_host_whose_answer_leads_elsewhere(hub, net, tmp_path, monkeypatch, key):
    """The client makes file names of both."""
    import huggingface_hub

    real = huggingface_hub.get_hf_file_metadata

    def lie(*args, **options):
        return dataclasses.replace(real(*args, **options), **{key: "../../../x"})

    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", lie)
    with pytest.raises((UnsafeFileError, NetworkError), match=r"\.\./\.\./x"):
        rezoo.load("hf://team/net")
    assert not list(tmp_path.rglob("x"))


@pytest.mark.parametrize("name", ["../../x", "/etc/passwd", ".hidden", "a/b", "a\\b", ""])
def test_h12_config_that_lists_files_elsewhere(hub, small_repository, name):
    config = json.loads(small_repository["config.json"])
    config["files"] = {name: {"sha256": "0" * 64, "size": 1}}
    commit = hub.add("team/odd", {**small_repository, "config.json": json.dumps(config).encode()})
    with pytest.raises(UnsafeFileError, match="not a plain file name"):
        rezoo.load(f"hf://team/odd@{commit}")


def test_w18_head_is_compared_before_a_network_is_built(hub, small_repository, monkeypatch):
    config = timm_config(num_classes=1_000_000)
    commit = hub.add("team/huge", {**small_repository, "config.json": config})

    def build(*args, **options):
        raise AssertionError("built")

    monkeypatch.setattr("rezoo.sources.load.create_model", build)
    with pytest.raises(IncompatibleError, match=r"fc\.weight is \(10, 96\); .* 1000000 classes"):
        rezoo.load(f"hf://team/huge@{commit}")


def test_no_folder_shadows_a_pin(hub, pinned, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / f"{ARCHITECTURE}.mine").mkdir()
    assert rezoo.load(f"{ARCHITECTURE}.mine").rezoo_origin.commit == pinned
    with pytest.raises(NotFoundError, match=r"has no config\.json"):
        rezoo.load(f"./{ARCHITECTURE}.mine")


def test_verify_of_what_cannot_be_fetched(hub, pinned, call, monkeypatch):
    rezoo.sources.references.resolve(ARCHITECTURE, pretrained=True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    fails(
        call("verify", ARCHITECTURE, "--pretrained"), 4, "model.safetensors is not on this machine"
    )


# the command line


def test_errors_of_the_command_line(hub, call, net):
    fails(call("info", "hf://team/other"), 4, "Error: hf://team/other@main is private, or does not")
    fails(call("eval", "hf://team/net@nosuch", "--dataset", "digits"), 3, "no such revision")
    fails(call("info", "hf://team/net@../x"), 2, "is not a revision")
    hub.faults = [Fault.rate_limited(9)]
    fails(call("info", "hf://team/net"), 4, "again in 9 s", "Hint: wait")


def test_h15_token_is_sent_and_never_shown(hub, net, monkeypatch, call, tmp_path):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("REZOO_DEBUG", "0")
    hub.add("team/secret", hub.files(NET), private=True)
    spoken = []
    for args in (
        ("info", "hf://team/secret"),
        ("verify", "hf://team/secret"),
        ("info", "hf://team/nosuch"),
        ("doctor", "--json"),
    ):
        answer = call(*args)
        spoken += [answer.out, answer.err]
    hub.faults = [Fault.bad_token(), Fault.status(500)]
    answer = call("info", f"hf://team/net@{net}")
    spoken += [answer.out, answer.err]
    assert any(TOKEN in r.headers.get("authorization", "") for r in hub.requests)
    assert not any(TOKEN in text for text in spoken)
    written = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert written
    assert not any(TOKEN.encode() in p.read_bytes() for p in written)


# processes of their own


LOAD = """
import json, sys, socket
if {block}:
    def refuse(*args, **options):
        raise AssertionError("a socket was opened")
    socket.socket.connect = refuse
import rezoo
model = rezoo.load({reference!r}, pretrained=True)
print(model.rezoo_origin.commit)
"""


def start_load(env, reference, *, block=False):
    code = LOAD.format(reference=reference, block=block)
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process) -> str:
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    return out.strip()


@pytest.mark.ci
def test_h9_offline_opens_no_socket(hub, pinned, tmp_path):
    env = hub.env(tmp_path / "home")
    assert finish(start_load(env, ARCHITECTURE)) == pinned
    env["HF_HUB_OFFLINE"] = "1"
    assert finish(start_load(env, ARCHITECTURE, block=True)) == pinned


@pytest.mark.slow
def test_h8_eight_processes_at_once(hub, pinned, tmp_path):
    env = hub.env(tmp_path / "home")
    started = [start_load(env, ARCHITECTURE) for _ in range(8)]
    assert {finish(process) for process in started} == {pinned}


def test_h8_cache_that_cannot_be_written(hub, pinned, tmp_path, monkeypatch):
    """With the files in place a read-only cache works; a process without rights tries it."""
    rezoo.load(ARCHITECTURE, pretrained=True)
    with mounted_read_only(cache()) as folder:
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
        rezoo.load(ARCHITECTURE, pretrained=True)
        with pytest.raises(ResourceError, match="cannot write the Hub's cache") as refused:
            rezoo.load(f"hf://team/other@{hub.add('team/other', hub.files(NET))}")
        assert "HF_HOME" in refused.value.hint


class mounted_read_only:  # noqa: N801
    """The folder once more, read-only; only root may do that."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.place = folder, folder.with_name("read-only")

    def __enter__(self) -> Path:
        self.place.mkdir()
        bind = ["mount", "--bind", str(self.folder), str(self.place)]
        if not shutil.which("mount") or subprocess.run(bind, capture_output=True).returncode:
            pytest.skip("only root may mount a folder read-only")
        remount = ["mount", "-o", "remount,bind,ro", str(self.place)]
        if subprocess.run(remount, capture_output=True).returncode:
            self.__exit__()
            pytest.skip("a folder cannot be mounted read-only here")
        return self.place

    def __exit__(self, *error: object) -> None:
        subprocess.run(["umount", "-l", str(self.place)], check=True)
