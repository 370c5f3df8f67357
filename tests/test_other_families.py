"""RegNet, Res2Net, ResNeSt and SKNet: small networks of their blocks against timm, and the rest."""

import re
import runpy
from pathlib import Path

import keras
import numpy as np
import pytest

from peers import import_timm, logits_of
from rezoo import create_model, registry
from rezoo.evaluation.damage.residual_blocks import cut_at_blocks
from rezoo.evaluation.explaining.linear_head import linear_head
from rezoo.models import regnet, tensors
from rezoo.models.fingerprint import fingerprint
from rezoo.models.profile import profile
from rezoo.models.settings import keras_settings

ROOT = Path(__file__).parents[1]
RELATIVE = 1e-5
WIDTHS = (64, 64, 128, 128)
RULE = {"depth": 6, "w_0": 24, "w_a": 24.0, "w_m": 2.0}  # 1, 1, 3, 1 of 24, 48, 96, 192 channels
OF_TIMM = {"w0": 24, "wa": 24.0, "wm": 2.0, "depth": 6}
RESNETS = (
    *("res2net50d", "res2net50_48w_2s", "res2next50"),
    *("resnest50d", "resnest50d_4s2x40d", "resnest50d_1s4x24d"),
    *("skresnet18", "skresnet50d", "skresnext50_32x4d"),
)
REGNETS = ("regnetx_002", "regnety_006", "regnety_008_tv")
ONE_EACH = ("res2net50d", "resnest50d_4s2x40d", "skresnet50d", "regnety_006")


def small(name, *, classes=5, precision="float32", size=(None, None), **options):
    """Return a network of an architecture's parts, with few blocks and channels."""
    spec = registry.architectures.get(name)
    config = dict(spec.config)
    if name in REGNETS:
        config |= RULE
    else:
        blocks = zip(config["blocks"], WIDTHS, strict=True)
        config |= {"depths": (1, 2, 1, 1), "blocks": tuple((b, w) for (b, _), w in blocks)}
    with keras_settings(precision):
        return spec.build(
            name="small",
            input_shape=(*size, 3),
            num_classes=classes,
            classifier_activation=None,
            **config,
            **options,
        )


def torch_twin(name):
    """Return timm's network of the same parts, with norms and statistics that are not trivial."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    parts = OF_TIMM if name in REGNETS else {"layers": [1, 2, 1, 1], "channels": WIDTHS}
    twin = import_timm().create_model(name, num_classes=5, **parts)
    for module in twin.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 2.0)
            torch.nn.init.uniform_(module.weight, 0.5, 1.0)
            torch.nn.init.uniform_(module.bias, -0.2, 0.2)
    return twin.eval()


def with_values(model, seed=0):
    """Give a network weights and statistics that are not trivial, as of training."""
    random = np.random.default_rng(seed)
    for variable in model.weights:
        deviation = 0.4 / np.sqrt(np.prod(variable.shape[:-1])) if len(variable.shape) > 1 else 0.2
        centre = 1.0 if variable.path.endswith(("gamma", "variance")) else 0.0
        value = centre + deviation * random.uniform(-2, 2, variable.shape)
        variable.assign(value.astype(np.float32))
    return model


def pictures(*size):
    return np.random.default_rng(1).standard_normal((2, *size, 3), dtype=np.float32)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=pytest.mark.ci if n in ONE_EACH else pytest.mark.slow)
        for n in (*RESNETS, *REGNETS)
    ],
)
def test_each_kind_gives_the_logits_of_timm(name):
    twin, model = torch_twin(name), small(name)
    state = {key: value.numpy() for key, value in twin.state_dict().items()}
    tensors.check(model, {key: value.shape for key, value in state.items()}, origin="timm")
    tensors.assign(model, state.__getitem__)
    for size in ((65, 97), (64, 64)):
        wanted, got = logits_of(twin, pictures(*size)), logits_of(model, pictures(*size))
        difference = np.abs(wanted - got).max() / np.abs(wanted).max()
        print(f"{keras.config.backend()} {name} {size}: {difference:.1e} of the largest logit")
        assert difference <= RELATIVE
    back = tensors.to_tensors(model)
    assert back.keys() == state.keys()
    assert all(np.array_equal(back[key], state[key]) for key in state if "num_batches" not in key)


@pytest.mark.parametrize(
    ("name", "widths", "depths", "groups"),
    [
        ("regnetx_002", (24, 56, 152, 368), (1, 1, 4, 7), 8),
        ("regnetx_032", (96, 192, 432, 1008), (2, 6, 15, 2), 48),
        ("regnety_016", (48, 120, 336, 888), (2, 6, 17, 2), 24),
        ("regnety_320", (232, 696, 1392, 3712), (2, 5, 12, 1), 232),
    ],
)
def test_widths_are_those_of_the_paper(name, widths, depths, groups):
    """The figures 15 and 16 of arXiv:2003.13678."""
    rule = registry.architectures.get(name).config
    found = regnet.stages(*(rule[key] for key in ("depth", "w_0", "w_a", "w_m")))
    assert tuple(blocks for _, blocks in found) == depths
    whole = [regnet._whole_groups(w, min(groups, w), torchvision=False) for w, _ in found]
    assert tuple(whole) == widths
    assert rule["group_width"] == groups


def test_parts_are_weighed_in_the_order_of_the_splits():
    """The weights of a channel's splits add up to 1, and groups stay apart (2004.08955, 3.1)."""
    from rezoo.models.channel_parts import PartsSoftmax, PartsSum

    splits, groups, each = 3, 2, 4
    x = np.random.default_rng(0).normal(size=(2, 1, 1, splits * groups * each)).astype(np.float32)
    weights = keras.ops.convert_to_numpy(PartsSoftmax(splits, groups)(x))
    assert np.allclose(PartsSum(splits)(weights), 1.0, atol=1e-6)
    apart = x.reshape(2, groups, splits, each)
    for split in range(splits):
        for group in range(groups):
            for place in range(each):
                one = apart[:, group, :, place]
                wanted = np.exp(one[:, split]) / np.exp(one).sum(1)
                channel = (split * groups + group) * each + place
                assert np.allclose(weights[:, 0, 0, channel], wanted, atol=1e-6)


@pytest.mark.ci
@pytest.mark.parametrize(
    "name", [*ONE_EACH[::2], *(pytest.param(n, marks=pytest.mark.slow) for n in ONE_EACH[1::2])]
)
def test_blocks_can_be_taken_out_and_the_head_is_linear(name):
    model = with_values(small(name))
    parts = cut_at_blocks(model)
    kinds = [block.shortcut for block in parts.blocks]
    assert set(kinds) == {"projection", "identity"}
    assert kinds[0] == "projection"
    x = parts.stem(pictures(33, 38), training=False)
    for block in parts.blocks:
        assert block.removable
        x = block.whole(x, training=False)
    wanted = logits_of(model, pictures(33, 38))
    assert np.allclose(keras.ops.convert_to_numpy(parts.head(x)), wanted, rtol=1e-4, atol=1e-5)
    head = linear_head(model)
    kernel, bias = head.weights()
    maps = keras.ops.convert_to_numpy(head.features([pictures(33, 38)], training=False))
    assert np.allclose(maps.mean((1, 2)) @ kernel + bias, wanted, rtol=1e-4, atol=1e-5)
    pooled = small(name, classes=0)
    assert pooled.output_shape == (None, maps.shape[-1])


@pytest.mark.slow
@pytest.mark.parametrize("name", ONE_EACH)
def test_every_weight_learns_in_mixed_precision_and_with_stochastic_depth(name):
    model = with_values(
        small(name, precision="mixed_bfloat16", size=(40, 33), stochastic_depth=0.1)
    )
    assert all(variable.dtype == "float32" for variable in model.weights)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, jit_compile=False)
    before = {v.path: keras.ops.convert_to_numpy(v) for v in model.trainable_variables}
    images = np.random.default_rng(1).standard_normal((8, 40, 33, 3), dtype=np.float32)
    model.fit(images, np.arange(8) % 5, epochs=1, batch_size=8, verbose=0)
    for variable in model.trainable_variables:
        after = keras.ops.convert_to_numpy(variable)
        assert np.isfinite(after).all()
        # a bias before a normalization has no gradient
        constant = ".conv2.fc1/bias" in variable.path
        assert constant or not np.array_equal(after, before[variable.path]), variable.path


@pytest.mark.ci
def test_stochastic_depth_and_other_parts_in_the_fingerprint():
    plain = small("res2net50_48w_2s")
    assert fingerprint(small("res2net50_48w_2s", stochastic_depth=0.2)) == fingerprint(plain)
    moved = keras.models.clone_model(
        plain, clone_function=lambda layer: type(layer).from_config(_moved(layer))
    )
    assert fingerprint(moved) != fingerprint(plain)


def _moved(layer):
    config = layer.get_config()
    return config | {"start": 1} if layer.name == "layer1.0.part0" else config


@pytest.mark.slow
@pytest.mark.parametrize("name", ONE_EACH)
def test_exports_compute_the_same(name, tmp_path):
    """ONNX, LiteRT, StableHLO, OpenVINO and Keras's own file, opened in their runtimes."""
    from importlib import import_module

    from rezoo.exporters.bundle import Bundle
    from rezoo.exporters.formats import FORMATS
    from rezoo.exporters.graph import read_graph
    from rezoo.exporters.runner import open_exported
    from rezoo.sources.references import Source
    from rezoo.specs import ModelConfig, Preprocessing

    if keras.config.backend() != "tensorflow":
        pytest.skip("exports are written with TensorFlow")
    size = (49, 64)
    model = with_values(small(name, size=size))
    pre = Preprocessing(input_size=(3, *size))
    config = ModelConfig(architecture=name, num_classes=5, preprocessing=pre)
    bundle = Bundle(
        source=Source(name, config),
        origin=None,
        network=model,
        graph=read_graph(model, (*size, 3)),
        preprocessing=pre,
    )
    wanted = logits_of(model, pictures(*size))
    others = ("torch", "saved_model")  # the folder, and what LiteRT is made of
    formats = [kind for kind in FORMATS.values() if not kind.missing and kind.name not in others]
    for kind in formats:
        folder = tmp_path / kind.name
        folder.mkdir()
        import_module(kind.writer).write(bundle, folder)
        found = open_exported(folder)(pictures(*size))
        assert np.abs(found - wanted).max() <= 1e-4 * np.abs(wanted).max(), kind.name


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["regnetx_002", "regnety_008_tv", "res2net50_48w_2s", "resnest14d", "skresnet18"]
)
def test_figures_are_those_of_the_network(name):
    """For all members, test_parity.py compares the network with timm's."""
    spec = registry.architectures.get(name)
    found = profile(create_model(name), input_shape=(spec.image_size, spec.image_size, 3))
    assert (found.params, found.macs) == (spec.params, spec.macs)
    assert spec.summary.startswith(f"{found.weighted_layers} layers")


def test_the_page_of_the_families_shows_the_code():
    """Each line of its diffs is a line of a file, and its table has every family."""
    page = (ROOT / "docs" / "concepts" / "families.md").read_text("utf-8")
    files = [*(ROOT / "src" / "rezoo" / "models").glob("*.py"), ROOT / "pyproject.toml"]
    lines = {line for file in files for line in file.read_text("utf-8").splitlines()}
    added = re.findall(r"^\+(.+)$", page, re.MULTILINE)
    assert len(added) > 10
    assert set(added) <= lines
    table = runpy.run_path(str(ROOT / "docs" / "generate.py"))["families"]()
    families = {spec.family for _, spec in registry.architectures.describe() if spec}
    assert families <= set(re.findall(r"<code>(\w+)</code>", table))
    lengths = [int(n) for n in re.findall(r", (\d+) \|$", table, re.MULTILINE)]
    assert max(lengths) <= 50
