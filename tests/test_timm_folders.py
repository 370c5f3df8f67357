"""Folders of timm: a name with other arguments is another network, and timm's names of the past."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import rezoo
from conftest import fails
from peers import import_timm, logits_of
from rezoo.artifacts.config import config_from_json
from rezoo.errors import HubNote, IncompatibleError, UnknownNameError
from rezoo.sources.references import resolve
from rezoo.utils.timm_names import NOT_BUILT, OLD_NAMES

# of resnet18 unless another architecture is named; the second value is a part of the message
OTHER_NETWORKS = [
    ({"act_layer": "silu"}, "act_layer is 'silu', not 'relu'"),
    ({"global_pool": "max"}, "global_pool is 'max', not 'avg'"),
    ({"global_pool": ""}, "global_pool is '', not 'avg'"),
    ({"output_stride": 16}, "output_stride is 16, not 32"),
    ({"avg_down": True}, "avg_down is True, not False"),
    ({"avg_down": 1}, "avg_down is 1, not False"),
    ({"layers": [3, 4, 6, 3]}, r"layers is \[3, 4, 6, 3\], not \[2, 2, 2, 2\]"),
    ({"channels": [64, 128, 256, 256]}, "channels is"),
    ({"stem_type": "deep", "stem_width": 32}, "stem_type is 'deep', not ''"),
    ({"replace_stem_pool": True}, "replace_stem_pool is True"),
    ({"norm_layer": "groupnorm"}, "norm_layer is 'groupnorm', not 'batchnorm'"),
    ({"aa_layer": "blurpool"}, "aa_layer is 'blurpool'"),
    ({"block_args": {"attn_layer": "se"}}, "block_args is"),
    ({"down_kernel_size": 3}, "down_kernel_size is 3, not 1"),
    ({"block_reduce_first": 2}, "block_reduce_first is 2, not 1"),
    ({"cardinality": 32}, "cardinality is 32, not 1"),
    ({"in_chans": 1}, "in_chans is 1, not 3"),
    ({"num_classes": 7}, "num_classes is 7, not 5"),
    ({"features_only": True}, "features_only is True, a key that rezoo does not know"),
    ({"act_layer": "gelu", "global_pool": "max"}, "act_layer .*; global_pool is"),
]
SAME_NETWORK = [
    ("resnet18", {"num_classes": 5, "in_chans": 3, "global_pool": "avg"}),
    ("resnet18", {"drop_rate": 0.2, "drop_path_rate": 0.1, "zero_init_last": False}),
    ("resnet18", {"act_layer": "relu", "norm_layer": "BatchNorm2d", "output_stride": 32}),
    ("resnet18", {"layers": [2, 2, 2, 2], "channels": [64, 128, 256, 512], "stem_width": 32}),
    ("resnet18", {"aa_layer": None, "block_args": {}, "avg_down": False, "global_pool": "fast"}),
    ("resnet50d", {"stem_type": "deep", "stem_width": 32, "avg_down": True}),
    ("resnet50d", {"down_kernel_size": 3}),
    ("resnet26t", {"stem_type": "deep_tiered", "stem_width": 32, "avg_down": True}),
    ("wide_resnet50_2", {"base_width": 128}),
    ("resnext50_32x4d", {"cardinality": 32, "base_width": 4, "aa_layer": None}),
    ("seresnext26d_32x4d", {"block_args": {"attn_layer": "se"}, "stem_type": "deep"}),
    ("resnetblur50", {"aa_layer": "blur_pool"}),
    ("resnetaa50d", {"aa_layer": "AvgPool"}),
    ("resnetrs50", {"replace_stem_pool": True, "block_args": None}),
    ("resnet50_gn", {"norm_layer": "group_norm"}),
    ("senet154", {"block_reduce_first": 2, "down_kernel_size": 3, "cardinality": 64}),
    ("regnety_008_tv", {"output_stride": 32, "group_size": 16, "se_ratio": 0.25, "wa": 38.84}),
    ("skresnet18", {"layers": [2, 2, 2, 2], "act_layer": "relu"}),
]


def config(architecture="resnet18", arguments=None, *, root=(), **cfg):
    content = {"architecture": architecture, "num_classes": 5, **dict(root)}
    if arguments is not None:
        content["model_args"] = arguments
    return {**content, "pretrained_cfg": {"input_size": [3, 224, 224], **cfg}}


@pytest.mark.parametrize(("arguments", "message"), OTHER_NETWORKS, ids=str)
def test_another_network_under_the_name_is_refused(arguments, message):
    with pytest.raises(IncompatibleError, match=f"not the resnet18 that rezoo builds: .*{message}"):
        config_from_json(config(arguments=arguments))


@pytest.mark.parametrize(("architecture", "arguments"), SAME_NETWORK, ids=str)
def test_arguments_that_change_nothing_are_accepted(architecture, arguments):
    assert config_from_json(config(architecture, arguments)).architecture == architecture


@pytest.mark.parametrize(
    ("architecture", "arguments"),
    [
        ("wide_resnet50_2", {"base_width": 64}),
        ("resnet50c", {"stem_width": 64}),
        ("resnet50t", {"stem_type": "deep"}),
        ("resnext50_32x4d", {"cardinality": 64}),
        ("seresnet50", {"block_args": {"attn_layer": "eca"}}),
        ("ecaresnet26t", {"block_args": {}}),
        ("resnetblur50", {"aa_layer": "avg"}),
        ("resnetaa50d", {"aa_layer": ""}),
        ("resnetrs50", {"block_args": {"attn_layer": "se"}}),  # of another width
        ("resnet50_gn", {"norm_layer": "batchnorm2d"}),
        ("senet154", {"block_reduce_first": 1}),
        ("regnety_008", {"output_stride": 16}),
        ("regnetx_008", {"se_ratio": 0.25}),
        ("regnetx_008", {"linear_out": True}),
        ("res2net50_26w_4s", {"block_args": {"scale": 8}}),
        ("skresnet18", {"block_args": {}}),
        ("vgg16", {"mlp_ratio": 2}),  # timm's has other names of tensors
        ("resnet20", {"layers": [3, 3, 3]}),  # not in timm: no argument is known
    ],
    ids=str,
)
def test_arguments_are_compared_with_the_architecture(architecture, arguments):
    with pytest.raises(IncompatibleError, match=f"not the {architecture} that rezoo builds"):
        config_from_json(config(architecture, arguments))


def test_a_loader_that_is_only_switched_on_has_no_effect():
    """As in timm, which ignores `true` from the Hub; BiT's configurations have it."""
    assert config_from_json(config(custom_load=True)).architecture == "resnet18"
    with pytest.raises(IncompatibleError, match="custom_load names a loader"):
        config_from_json(config(custom_load="hf"))


def test_keys_outside_of_the_arguments():
    with pytest.raises(IncompatibleError, match="global_pool is 'catavgmax', not 'avg'"):
        config_from_json(config(root={"global_pool": "catavgmax"}))
    with pytest.raises(IncompatibleError, match="global_pool is 'max', not 'avg'"):
        config_from_json(config(global_pool="max"))
    with pytest.raises(IncompatibleError, match="label_offset is 1, not 0"):
        config_from_json(config(label_offset=1))
    with pytest.raises(IncompatibleError, match="key 'model_args' has the value 5"):
        config_from_json(config(arguments=5))
    read = config_from_json(  # metadata of timm, and what only its adaptation to other data reads
        config(
            root={"global_pool": "avg", "num_features": 512},
            first_conv="conv1.0",
            classifier="head",
            pool_size=[1, 1],
            test_pool_size=None,
            label_offset=0,
            fixed_input_size=False,
            num_classes=1000,
        )
    )
    assert read.num_classes == 5


@pytest.fixture
def saved(tmp_path):
    """Write a folder with timm's own `save_for_hf`; return it, the network and its default twin."""
    timm = import_timm()
    torch = pytest.importorskip("torch")
    from timm.models import save_for_hf

    def save(architecture, arguments):
        torch.manual_seed(0)
        model = timm.create_model(architecture, num_classes=5, **arguments)
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.uniform_(-0.5, 0.5)
                module.running_var.uniform_(0.5, 2.0)
                torch.nn.init.uniform_(module.weight, 0.5, 1.0)
        save_for_hf(model.eval(), tmp_path / "saved", safe_serialization=True)
        twin = timm.create_model(architecture, num_classes=5).eval()
        twin.load_state_dict(model.state_dict())
        return tmp_path / "saved", model, twin

    return save


def largest_difference(one, other, images):
    wanted = logits_of(one, images)
    return np.abs(wanted - logits_of(other, images)).max() / np.abs(wanted).max()


@pytest.mark.parametrize(
    "arguments",
    [
        {"act_layer": "silu"},
        pytest.param({"global_pool": "max"}, marks=pytest.mark.slow),
        pytest.param({"output_stride": 16}, marks=pytest.mark.slow),
    ],
    ids=str,
)
@pytest.mark.ci
def test_what_timm_saved_with_other_arguments_is_another_network(saved, arguments):
    folder, model, twin = saved("resnet18", arguments)
    images = np.random.default_rng(0).standard_normal((2, 96, 96, 3), dtype=np.float32)
    difference = largest_difference(model, twin, images)
    print(f"{arguments}: differs by {difference:.2g} of the largest logit")
    assert difference > 0.01  # with the same tensors
    with pytest.raises(IncompatibleError, match=next(iter(arguments))):
        rezoo.load(folder)


@pytest.mark.parametrize(
    ("architecture", "arguments"),
    [
        pytest.param(
            *("resnet18", {"drop_rate": 0.2, "drop_path_rate": 0.1, "stem_width": 32}),
            marks=pytest.mark.slow,
        ),
        ("resnet26t", {"down_kernel_size": 3, "act_layer": "relu", "norm_layer": "batchnorm2d"}),
    ],
    ids=str,
)
@pytest.mark.ci
def test_what_timm_saved_with_arguments_without_effect_loads(saved, architecture, arguments):
    folder, model, twin = saved(architecture, arguments)
    images = np.random.default_rng(0).standard_normal((2, 96, 96, 3), dtype=np.float32)
    assert largest_difference(model, twin, images) == 0
    assert largest_difference(model, rezoo.load(folder), images) <= 1e-5


# names


@pytest.mark.ci
def test_the_names_are_those_of_timm():
    timm = import_timm()
    from timm.models import _registry

    ours = set(rezoo.list_models())
    assert not ours & set(NOT_BUILT)
    theirs = set(timm.list_models())
    assert theirs >= set(NOT_BUILT)
    begins = ("resne", "seresne", "ecaresne", "res2ne", "skresne", "regnet", "vgg")
    residual = {n for n in theirs if n.startswith(begins)}
    assert not residual - ours - set(NOT_BUILT)
    old = {
        old: new
        for old, new in _registry._deprecated_models.items()
        if _registry._model_to_module.get(new.partition(".")[0]) == "resnet" and "." in new
    }
    assert old == OLD_NAMES


@pytest.mark.parametrize(
    ("name", "family", "close"),
    [
        ("seresnext26ts", "ByobNet", "seresnext26t_32x4d"),
        ("seresnext26ts.ch_in1k", "ByobNet", "seresnext26t_32x4d"),
        ("resnet50_clip", "CLIP's ResNet", "resnet50c"),
        ("legacy_seresnet50.in1k", "legacy SENet", "seresnet50"),
        ("ecaresnet50d_pruned", "pruned ECA-ResNet", "ecaresnet50d"),
        ("regnetz_040", "RegNetZ", "regnety_040"),
        ("regnety_2560.seer_ft_in1k", "RegNet", "regnety_640"),
    ],
)
def test_an_architecture_of_timm_that_is_not_here(name, family, close, call):
    message = f"timm's {name.partition('.')[0]} of the family {family}, which rezoo does not build"
    with pytest.raises(UnknownNameError, match=message) as refused:
        resolve(name)
    assert close in refused.value.hint
    fails(call("info", name), 2, message, close)


@pytest.mark.parametrize("name", ["efficientnet_b0", "vit_base_patch16_224", "convnext_tiny"])
@pytest.mark.parametrize("command", ["info", "benchmark"])
def test_a_network_of_another_kind_is_no_network_of_this_zoo(name, command, call):
    answer = call(command, name)
    fails(answer, 2, f"{name} is no residual network of this zoo; rezoo list --models shows all")
    assert len(answer.err) < 300


def test_old_names_of_timm_are_translated(hub, call):
    with (
        pytest.warns(HubNote, match=r"tv_resnet34 is timm's old name of resnet34\.tv_in1k"),
        pytest.raises(rezoo.RezooError, match=r"hf://timm/resnet34\.tv_in1k"),
    ):
        resolve("tv_resnet34")
    answer = call("train", "swsl_resnet18", "--dataset", "digits")
    assert answer.rc == 4, answer  # the stand-in has no such repository
    assert "swsl_resnet18 is timm's old name of resnet18.fb_swsl_ig1b_ft_in1k" in answer.err
    with pytest.raises(UnknownNameError, match=r"timm's old name of resnet34\.tv_in1k") as refused:
        rezoo.create_model("tv_resnet34")
    assert refused.value.hint == "the architecture is resnet34."
    assert config_from_json(config("gluon_resnet50_v1d")).architecture == "resnet50d"


# folders


def test_a_folder_never_shadows_an_architecture(tmp_path, monkeypatch, finished_run, call):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "resnet18").symlink_to(finished_run)
    (tmp_path / "mine").symlink_to(finished_run)
    (tmp_path / "resnet20").write_text("a file")
    assert not resolve("resnet18").has_weights
    assert resolve("./resnet18").config.architecture == "test_resnet"
    assert resolve(tmp_path / "resnet18").has_weights
    source = resolve(Path("resnet18"))
    assert (source.has_weights, source.reference) == (True, "./resnet18")
    with pytest.raises(UnknownNameError) as refused:
        resolve("mine")
    assert refused.value.hint == "for the folder, write ./mine"
    assert resolve("./mine").has_weights
    fails(call("eval", "resnet18"), 2, "resnet18 has no weights")
    fails(call("info", "mine"), 2, "unknown model 'mine'", "for the folder, write ./mine")
    found = json.loads(call("info", "resnet20", "--json").out)
    assert found["architecture"] == "resnet20"
