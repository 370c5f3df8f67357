"""Catalogues of weights: rezoo's own, a team's, a plugin's; none of this needs a network."""

from __future__ import annotations

import json
import os
import re
import runpy
import tomllib
from pathlib import Path

import pytest

import rezoo
from conftest import fails
from peers import import_timm
from rezoo import registry
from rezoo.errors import (
    NotFoundError,
    PluginError,
    PluginWarning,
    RezooError,
    SpecError,
    UnknownNameError,
)
from rezoo.sources import catalogue
from rezoo.sources.references import resolve
from rezoo.utils.licences import PERMISSIVE

EXAMPLES = Path(__file__).parents[1] / "examples"
ENTRY = {
    "arch": "resnet18",
    "tag": "ours",
    "repo": "team/net",
    "sha256": "a" * 64,
    "licence": "mit",
}


def write(path, *entries):
    """Write a catalogue; values are JSON, which TOML reads alike."""
    lines = []
    for entry in entries:
        lines += ["[[weights]]", *(f"{k} = {json.dumps(v)}" for k, v in entry.items())]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Catalogues of the user's own: `own(entry, …)` writes one and names it."""
    named = []

    def name(*entries):
        path = write(tmp_path / f"{len(named)}.toml", *entries)
        named.append(str(path))
        monkeypatch.setenv("REZOO_CATALOGUE", os.pathsep.join(named))
        return path

    return name


# rezoo's own


def test_every_entry_is_of_an_architecture_that_is_there():
    assert {s.architecture for s in catalogue.describe()} <= set(rezoo.list_models())


def test_defaults_are_pinned_and_free():
    defaults = [s for s in catalogue.describe() if s.default]
    assert [s.name for s in defaults] == [
        "resnet10t.c3_in1k",
        "resnet14t.c3_in1k",
        "resnet18.a1_in1k",
        "resnet34.a1_in1k",
        "resnet50.a1_in1k",
        "resnet50d.a1_in1k",
        "resnet101.a1_in1k",
        "resnet101d.ra2_in1k",
        "resnet152.a1_in1k",
        "test_resnet.r160_in1k",
        "wide_resnet50_2.racm_in1k",
    ]
    for spec in defaults:
        assert spec.sha256
        assert spec.licence == "apache-2.0"


def test_published_figures():
    """As timm's results/results-imagenet.csv has them."""
    spec = catalogue.get("resnet50.a1_in1k")
    assert (spec.top1, spec.top1_train_size) == (0.8124, 0.80382)
    assert spec.preprocessing.for_test().size == (288, 288)
    assert spec.preprocessing.for_test().crop_pct == 1.0
    spec = catalogue.get("resnet50.tv_in1k")
    assert (spec.top1, spec.licence) == (0.76156, "bsd-3-clause")
    assert spec.preprocessing.for_test().size == (224, 224)
    spec = catalogue.get("resnet50d.ra4_e3600_r224_in1k")
    assert spec.preprocessing.mean == (0.5, 0.5, 0.5)


@pytest.mark.ci
def test_the_catalogue_says_what_timm_says():
    """Every published classifier of timm is an entry, and defaults allow commercial use."""
    import_timm()
    script = runpy.run_path(str(EXAMPLES / "catalogue_from_timm.py"))
    entries = {
        e["repo"]: e for e in tomllib.loads(script["CATALOGUE"].read_text("utf-8"))["weights"]
    }
    published = [script["facts"](*row) for row in script["published"]()]
    assert len(published) > 180
    for facts in published:
        entry = entries[facts["repo"]]
        assert facts.items() <= entry.items()
        assert facts.get("extra_data") == entry.get("extra_data")
        assert entry["macs"]


@pytest.mark.ci
def test_most_residual_networks_of_timm_and_their_weights_are_here(monkeypatch):
    """Of those that can be loaded safely: weights of legacy SENets are pickles."""
    import_timm()
    monkeypatch.syspath_prepend(EXAMPLES.parent / "tests")
    rows = runpy.run_path(str(EXAMPLES / "parity_table.py"))["coverage"]()
    networks, built, weights, known = map(sum, zip(*rows.values(), strict=True))
    assert (networks, weights) == (170, 236)  # of timm 1.0.31
    assert built >= 120
    assert known >= 190


@pytest.mark.parametrize(
    ("name", "data", "non_commercial"),
    [
        ("resnext101_32x8d.fb_wsl_ig1b_ft_in1k", "hashtags", True),
        ("regnety_320.seer_ft_in1k", "without labels", True),  # Meta's licence of SEER, section 1
        ("regnety_320.swag_lc_in1k", "3.6 billion", True),
        ("resnext50_32x4d.fb_ssl_yfcc100m_ft_in1k", "YFCC100M", True),
        ("resnetaa50d.sw_in12k_ft_in1k", "ImageNet-12k", False),
        ("resnetv2_50x1_bit.goog_in21k", "ImageNet-21k", False),
        ("resnet50.tv_in1k", "", False),
    ],
)
def test_more_data_and_licences_are_marked_where_weights_are_shown(
    name, data, non_commercial, call
):
    spec = catalogue.get(name)
    assert data in spec.extra_data
    assert bool(data) == bool(spec.extra_data)
    assert spec.non_commercial == non_commercial
    row = next(row for row in call("list", name, "--weights").out.splitlines() if name in row)
    marks = row.partition(name)[0]
    assert ("+" in marks, "!" in marks) == (bool(data), non_commercial)
    found = json.loads(call("info", name, "--json").out)
    assert (found["extra_data"], found["non_commercial"]) == (spec.extra_data, non_commercial)


def test_no_default_needs_more_data_or_another_licence():
    for spec in catalogue.describe():
        commercial = not spec.non_commercial and spec.licence != "unknown"
        assert not spec.default or (commercial and not spec.extra_data)


def test_names_and_specs_of_an_architecture():
    names = rezoo.list_weights("resnet34")
    assert names[0] == "resnet34.a1_in1k"
    assert all(name.startswith("resnet34.") for name in names)
    assert set(names) < set(rezoo.list_weights())


def test_unknown_weights():
    with pytest.raises(UnknownNameError, match="unknown weights") as unknown:
        resolve("resnet50.a1")
    assert unknown.value.hint == (
        "Did you mean resnet50.a1_in1k or resnet50.a1h_in1k? rezoo list --weights shows all."
    )
    with pytest.raises(UnknownNameError, match="unknown model 'resnet51'"):
        resolve("resnet51", pretrained=True)


def test_architecture_without_default_weights():
    with pytest.raises(NotFoundError, match="no default weights of resnet18d") as refused:
        resolve("resnet18d", pretrained=True)
    assert "resnet18d.ra2_in1k" in refused.value.hint


# chosen by patterns and limits


def test_weights_are_chosen_by_pattern_size_licence_and_accuracy(call):
    words = ("--weights", "--max-params", "30M", "--sort", "top1", "--licence", "permissive")
    rows = json.loads(call("list", "resnet*d", *words, "--json").out)["weights"]
    names = [row["name"] for row in rows]
    assert names[:2] == ["resnetaa50d.sw_in12k_ft_in1k", "resnet50d.ra4_e3600_r224_in1k"]
    assert all(row["params"] <= 30e6 and row["architecture"].endswith("d") for row in rows)
    assert {row["licence"] for row in rows} <= set(PERMISSIVE)
    assert names == rezoo.list_models(
        "resnet*d", pretrained=True, max_params=30e6, sort="top1", licence="permissive"
    )
    by_tag = rezoo.list_models("*.a1_in1k", pretrained=True, max_macs=4.1e9)
    assert by_tag == ["resnet18.a1_in1k"]


def test_patterns_of_architectures():
    assert rezoo.list_models("resnet?") == []
    assert rezoo.list_models("vgg*_bn") == ["vgg16_bn", "vgg19_bn"]
    small = rezoo.list_models("resnet[25]*", max_params=300_000, sort="macs")
    assert small == ["resnet20"]
    fifty = rezoo.list_models("*50*", pretrained=True)
    assert fifty[0].startswith("ecaresnet50d.")
    assert "resnet50.a1_in1k" in fifty
    assert {name.partition(".")[0] for name in fifty} <= set(rezoo.list_models("*50*"))
    # plain20 has an entry of neither catalogue, and its counts are known
    assert "plain20" in rezoo.list_models(max_macs=1e8)


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["resnte*d"], 2, "no architectures match 'resnte*d'\nHint: Did you mean resnet50d"),
        (["resnte50", "--weights"], 2, "no weights match 'resnte50'\nHint: Did you mean resnet50"),
        (["*.nosuch", "--weights"], 2, "no weights match"),
        (["pest", "--datasets"], 2, "no datasets match 'pest'"),
        (["resnet50", "--max-params", "1M"], 3, "is within --max-params 1,000,000"),
        (["--weights", "--max-macs", "0"], 3, "weights is within --max-macs 0"),
        (["--max-params", "30X"], 2, "'30X' is no number such as 30M, 4.1G or 800k"),
        (["--max-params", "nan"], 2, "'nan' is no number"),
        (["--max-macs=-1G"], 2, "'-1G' is no number"),
        (["--weights", "--licence", "gpl"], 2, "licence: 'gpl'; those of the weights are apache-2"),
        (["--licence", "mit"], 2, "--licence is for --weights"),
        (["--datasets", "--max-macs", "1G"], 2, "--max-macs is for architectures and --weights"),
        (["x*", "--records"], 2, "a pattern is for names"),
    ],
    ids=str,
)
def test_patterns_and_limits_that_leave_nothing(call, args, code, message):
    fails(call("list", *args), code, message)


def test_licence_and_accuracy_are_of_weights():
    with pytest.raises(SpecError, match="licence='mit' is for weights"):
        rezoo.list_models(licence="mit")
    with pytest.raises(SpecError, match="sort='top1' is for weights"):
        rezoo.list_models(sort="top1")
    with pytest.raises(SpecError, match="sort: 'size'; allowed are name, params, macs, top1"):
        rezoo.list_models(sort="size")


# a team's own


def test_own_entries_come_first(own):
    own({**ENTRY, "arch": "resnet50", "tag": "a1_in1k", "default": True})
    spec = catalogue.default("resnet50")
    assert (spec.repo, spec.sha256) == ("team/net", "a" * 64)
    assert catalogue.get("rezoo:resnet50.a1_in1k").repo == "timm/resnet50.a1_in1k"
    own({**ENTRY, "arch": "resnet50", "tag": "a1_in1k", "repo": "other/net"})
    assert catalogue.get("resnet50.a1_in1k").repo == "team/net"  # the first file counts


def test_own_catalogue_may_change_while_a_process_runs(own):
    path = own(ENTRY)
    assert "resnet18.ours" in rezoo.list_weights()
    write(path, {**ENTRY, "tag": "other"})
    os.utime(path, ns=(1, 1))
    assert "resnet18.other" in rezoo.list_weights()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sha512": "x"}, r"unknown key 'sha512'; Did you mean sha256\?"),
        ({"sha256": "abc"}, "64 hexadecimal"),
        ({"commit": "main"}, "40 hexadecimal"),
        ({"top1_test_size": 101}, "it must be a percentage"),
        ({"top1_test_size": "80"}, "has the wrong type"),
        ({"default": 1}, "has the wrong type"),
        ({"train_size": 0}, "sides are 1 to"),
        ({"mean": ["a", "b", "c"]}, r"mean = \['a', 'b', 'c'\]; it must be a list of numbers"),
        ({"std": [True, 1, 1]}, "std = .*; it must be a list of numbers"),
        ({"std": [[1], 1, 1]}, "std = .*; it must be a list of numbers"),
        ({"mean": [10**30, 0, 0]}, "key 'mean': an integer has more than 64 bits"),
        ({"crop_pct": 1e-300}, "crop_pct: 1e-300; allowed is"),
        ({"note": "x" * 2000}, "note has 2,000 characters; at most 1,000"),
        ({"x" * 2000: 1}, "unknown key 'xxx"),
        ({"interpolation": "nearest"}, "allowed are 'bilinear', 'bicubic'"),
        ({"default": True, "sha256": ""}, "is a default without a sha256"),
        ({"default": True, "licence": "cc-by-nc-4.0"}, "forbids commercial use"),
        ({"repo": "net"}, "not a repository of the Hub"),
    ],
)
def test_entries_that_are_wrong(own, change, message):
    own({**ENTRY, **change})
    with pytest.raises(RezooError, match=message) as refused:
        rezoo.list_weights()
    assert re.search(r"entry 1|catalogue names|0\.toml: key", str(refused.value))
    assert len(str(refused.value)) < 1000


@pytest.mark.parametrize("key", ["arch", "tag", "repo", "licence"])
def test_keys_that_are_missing(own, key):
    own({k: v for k, v in ENTRY.items() if k != key})
    with pytest.raises(SpecError, match=f"key '{key}' is missing"):
        rezoo.list_weights()


def test_files_that_are_no_catalogue(monkeypatch, tmp_path):
    monkeypatch.setenv("REZOO_CATALOGUE", str(tmp_path / "nosuch.toml"))
    with pytest.raises(NotFoundError, match="cannot read the catalogue"):
        rezoo.list_weights()
    path = tmp_path / "bad.toml"
    monkeypatch.setenv("REZOO_CATALOGUE", str(path))
    for text, message in (
        ("[[weights", "not valid TOML"),
        ("weights = 1", r"has no \[\[weights\]\]"),
        ("format_version = 9", "format_version 9"),
    ):
        path.write_text(text)
        os.utime(path, ns=(len(text), len(text)))
        with pytest.raises(SpecError, match=message):
            rezoo.list_weights()


def test_non_commercial_weights_say_so(own, monkeypatch):
    own({**ENTRY, "licence": "cc-by-nc-4.0"})
    with (
        pytest.warns(rezoo.errors.HubWarning, match="forbids commercial use"),
        pytest.raises(rezoo.errors.NetworkError),
    ):
        resolve("resnet18.ours")


# a plugin's


@pytest.fixture
def plugin(monkeypatch, tmp_path):
    """Let distributions register catalogues: `plugin(name, path)`."""
    found = []

    def add(name, value):
        class Point:
            group, value_ = "rezoo.catalogues", value

            def load(self):
                if isinstance(value, Exception):
                    raise value
                return value

        point = Point()
        point.value = f"{name}:catalogue"
        found.append(registry.Entry("weights", name, "1.0", point))
        catalogue._plugins.cache_clear()

    monkeypatch.setattr(registry, "scan", lambda group: tuple(found))
    yield add
    catalogue._plugins.cache_clear()


def test_catalogue_of_a_plugin(plugin, tmp_path):
    plugin("lab", write(tmp_path / "lab.toml", ENTRY))
    assert catalogue.get("resnet18.ours").catalogue == "lab"
    assert catalogue.get("lab:resnet18.ours").repo == "team/net"
    plugin("other", lambda: write(tmp_path / "other.toml", {**ENTRY, "repo": "other/net"}))
    with pytest.raises(PluginError, match="listed twice, by lab and other"):
        catalogue.get("resnet18.ours")
    assert catalogue.get("other:resnet18.ours").repo == "other/net"


def test_plugin_cannot_replace_a_built_in(plugin, tmp_path):
    entry = {**ENTRY, "arch": "resnet50", "tag": "a1_in1k", "default": True}
    plugin("evil", write(tmp_path / "evil.toml", entry))
    assert catalogue.get("resnet50.a1_in1k").repo == "timm/resnet50.a1_in1k"
    assert catalogue.default("resnet50").catalogue == "rezoo"


def test_plugin_whose_catalogue_is_broken(plugin, tmp_path):
    plugin("broken", tmp_path / "nosuch.toml")
    with pytest.warns(PluginWarning, match="It is left out"):
        names = rezoo.list_weights()
    assert "resnet50.a1_in1k" in names


# the command line


def test_list_weights(cli):
    document = json.loads(cli("list", "--weights", "--json").out)
    by_name = {row["name"]: row for row in document["weights"]}
    row = by_name["resnet50.a1_in1k"]
    assert (row["default"], row["top1"], row["params"]) == (True, 0.8124, 25_557_032)
    assert row["commit"] == "767268603ca0cb0bfe326fa87277f19c419566ef"
    text = cli("list", "--weights").out
    assert re.search(r"\*    ? resnet50\.a1_in1k", text)
    assert re.search(r"-    ? resnet50\.ram_in1k", text)


def test_info_of_published_weights(cli):
    answer = cli("info", "resnet50.tv_in1k", "--json")
    assert answer.rc == 0, answer
    assert json.loads(answer.out)["licence"] == "bsd-3-clause"


def test_hints_name_weights(cli, tmp_path):
    fails(
        cli("eval", "resnet50", "--dataset", "digits"),
        2,
        "or published weights, such as resnet50.a1_",
    )
    answer = cli("train", "resnet18d", "--pretrained", "--dataset", "digits")
    fails(answer, 3, "no default weights of resnet18d")
    answer = cli("predict", "resnet50", "--pretrained", "x.jpg")
    fails(answer, 4, "HF_HUB_OFFLINE forbids to fetch it")
