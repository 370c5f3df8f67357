"""Pre-activation networks: their parts against timm, and the rest of rezoo on them."""

import json
from functools import partial

import keras
import numpy as np
import pytest

from peers import import_timm, logits_of
from rezoo import create_model, load, registry
from rezoo.artifacts import weights
from rezoo.evaluation.damage.residual_blocks import cut_at_blocks
from rezoo.evaluation.explaining.linear_head import linear_head
from rezoo.evaluation.forward import compiled_forward
from rezoo.models import tensors
from rezoo.models.factory import deep_graphs
from rezoo.models.fingerprint import fingerprint
from rezoo.models.norms import freeze_statistics
from rezoo.models.settings import keras_settings
from rezoo.specs import ModelConfig

RELATIVE = 1e-5
WIDTHS = (128, 128, 256, 256)
KINDS = {  # the parts of each kind: all blocks, stems, shortcuts, pools and normalizations
    "resnetv2_18d": (64, 64, 128, 128),
    "resnetv2_50": WIDTHS,
    "resnetv2_50t": WIDTHS,
    "resnetv2_50d_gn": WIDTHS,
    "resnetv2_50d_evos": WIDTHS,
    "resnetv2_50x1_bit": WIDTHS,
}
COMMON = ("resnetv2_18d", "resnetv2_50", "resnetv2_50x1_bit")


def small(name, *, classes=10, precision="float32", depths=(2, 1, 1, 1), **options):
    """Return a network of the parts of an architecture, with few blocks and channels."""
    spec = registry.architectures.get(name)
    widths = {"widths": KINDS[name]} if name in KINDS else {}
    with deep_graphs(), keras_settings(precision):
        return spec.build(
            name="small",
            input_shape=(None, None, 3),
            num_classes=classes,
            classifier_activation=None,
            **{**spec.config, "depths": depths, **widths},
            **options,
        )


def torch_twin(name):
    """Return timm's network of the same parts, with norms and statistics that are not trivial."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    resnetv2 = import_timm().models.resnetv2
    parts = {"layers": [2, 1, 1, 1], "channels": KINDS[name], "num_classes": 10}
    if name.endswith("_bit"):
        convolution = partial(resnetv2.StdConv2d, eps=1e-8)
        twin = resnetv2.ResNetV2(**parts, stem_type="fixed", conv_layer=convolution)
    else:
        twin = import_timm().create_model(name, **parts)
    for module in twin.modules():
        if "Norm" in type(module).__name__:
            for parameter in module.parameters(recurse=False):
                torch.nn.init.uniform_(parameter, 0.5, 1.0)
            torch.nn.init.uniform_(module.bias, -0.2, 0.2)
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 2.0)
    return twin.eval()


def images_of(*size):
    return np.random.default_rng(1).standard_normal((2, *size, 3), dtype=np.float32)


@pytest.mark.backend
@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.ci if n in COMMON else pytest.mark.slow) for n in KINDS],
)
def test_each_kind_gives_the_logits_of_timm(name):
    twin, model = torch_twin(name), small(name)
    state = {key: value.numpy() for key, value in twin.state_dict().items()}
    tensors.check(model, {key: value.shape for key, value in state.items()}, origin="timm")
    tensors.assign(model, state.__getitem__)
    for size in ((65, 97), (64, 64)):
        wanted, got = logits_of(twin, images_of(*size)), logits_of(model, images_of(*size))
        difference = np.abs(wanted - got).max() / np.abs(wanted).max()
        print(f"{keras.config.backend()} {name} {size}: {difference:.1e} of the largest logit")
        assert difference <= RELATIVE
    back = tensors.to_tensors(model)
    assert back.keys() == state.keys()
    assert all(np.array_equal(back[key], state[key]) for key in state if "num_batches" not in key)


@pytest.mark.ci
@pytest.mark.parametrize("name", ["preact_resnet110", "wide_resnet28_10"])
def test_first_unit_for_cifar_adds_to_the_activated_input(name):
    """arXiv:1603.05027, appendix: the first activation comes before the two paths."""
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    model = small(name, depths=(1, 1, 1))
    random = np.random.default_rng(0)
    for variable in model.weights:
        variable.assign(random.uniform(0.05, 0.3, variable.shape).astype(np.float32))
    state = {k: torch.from_numpy(v) for k, v in tensors.to_tensors(model).items()}

    def active(x, name):
        names = (f"{name}.{key}" for key in ("running_mean", "running_var", "weight", "bias"))
        return functional.batch_norm(x, *(state[n] for n in names)).relu()

    def conv(x, name, stride=1, padding=1):
        return functional.conv2d(x, state[f"{name}.weight"], stride=stride, padding=padding)

    images = images_of(16, 16)
    x = active(
        conv(torch.from_numpy(images.transpose(0, 3, 1, 2).copy()), "stem.conv"), "stem.norm"
    )
    widths = registry.architectures.get(name).config["widths"]
    for stage, (width, stride) in enumerate(zip(widths, (1, 2, 2), strict=True)):
        block = f"stages.{stage}.blocks.0"
        shortcut = x if stage == 0 else active(x, f"{block}.norm1")
        y = conv(
            active(conv(shortcut, f"{block}.conv1", stride), f"{block}.norm2"), f"{block}.conv2"
        )
        half = (width - shortcut.shape[1]) // 2
        if f"{block}.downsample.conv.weight" in state:
            x = y + conv(shortcut, f"{block}.downsample.conv", stride, padding=0)
        else:
            x = y + functional.pad(shortcut[:, :, ::stride, ::stride], (0, 0, 0, 0, half, half))
    pooled = active(x, "norm").mean((2, 3))
    wanted = (pooled @ state["head.fc.weight"][:, :, 0, 0].T + state["head.fc.bias"]).numpy()
    got = logits_of(model, images)
    assert np.abs(wanted - got).max() <= RELATIVE * np.abs(wanted).max()


@pytest.mark.ci
def test_folder_opens_in_timm_also_with_other_classes(tmp_path):
    timm = import_timm()
    model = create_model("resnetv2_18d", num_classes=7)
    config = ModelConfig(architecture="resnetv2_18d", num_classes=7)
    weights.save_model(model, config, tmp_path)
    written = json.loads((tmp_path / "config.json").read_text())["pretrained_cfg"]
    assert (written["first_conv"], written["classifier"]) == ("stem.conv1", "head.fc")
    twin = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    wanted, got = logits_of(model, images_of(64, 64)), logits_of(twin, images_of(64, 64))
    assert np.abs(wanted - got).max() <= RELATIVE * np.abs(wanted).max()
    other = timm.create_model(f"local-dir:{tmp_path}", pretrained=True, num_classes=3)
    assert other.head.fc.weight.shape == (3, 512, 1, 1)
    ours = load(str(tmp_path), num_classes=3)
    kept = tensors.to_tensors(model)
    for name, value in tensors.to_tensors(ours).items():
        assert np.array_equal(kept[name], value) is not name.startswith("head.fc."), name
    assert load(str(tmp_path), num_classes=0).output_shape == (None, 512)


@pytest.mark.backend
def test_standardized_filters_have_mean_0_and_variance_1():
    from rezoo.models.preactivation_layers import StandardizedConv2D

    layer = StandardizedConv2D(5, 3, use_bias=False, dtype="mixed_bfloat16")
    layer.build((None, 8, 8, 4))
    random = np.random.default_rng(0)
    layer.kernel.assign(random.normal(0.3, 0.01, (3, 3, 4, 5)).astype(np.float32))
    ones = np.ones((1, 3, 3, 4), np.float32)
    with pytest.MonkeyPatch.context() as patch:
        found = []
        convolve = keras.layers.Conv2D.convolution_op
        patch.setattr(
            keras.layers.Conv2D,
            "convolution_op",
            lambda self, x, kernel: found.append(kernel) or convolve(self, x, kernel),
        )
        layer(ones)
    [found] = found
    assert keras.backend.standardize_dtype(found.dtype) == "bfloat16"
    values = keras.ops.convert_to_numpy(keras.ops.cast(found, "float32")).reshape(-1, 5)
    # in bfloat16, weights of 0.3 +- 0.01 have ten values, and none of these means would be 0
    assert np.abs(values.mean(0)).max() < 0.01
    assert np.abs(values.var(0) - 1).max() < 0.02


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnetv2_50d", "resnetv2_50d_evos", "resnetv2_50x1_bit"])
def test_logits_in_bfloat16_are_near(name):
    full, mixed = small(name), small(name, precision="mixed_bfloat16")
    mixed.set_weights(full.get_weights())
    wanted, got = logits_of(full, images_of(64, 64)), logits_of(mixed, images_of(64, 64))
    assert got.dtype == np.float32
    assert all(variable.dtype == "float32" for variable in mixed.weights)
    assert np.abs(wanted - got).max() < 0.1 * np.abs(wanted).max()
    assert not np.array_equal(wanted, got)


@pytest.mark.ci
@pytest.mark.parametrize("name", ["resnetv2_18d", "resnetv2_50d_gn"])
def test_stages_have_learning_rates_of_their_own(name):
    """The final normalization has that of the last stage, the stem the smallest."""
    from rezoo.recipes.recipe import Recipe
    from rezoo.training.optimizers import build_optimizer

    model = small(name, depths=(1, 1, 1, 1))
    recipe = Recipe(name="t", epochs=1, backbone_lr_scale=0.5, layer_lr_decay=0.1)
    rule = build_optimizer(model, recipe, steps_per_epoch=1)
    found = {
        variable.path.split("/")[0].rpartition(".blocks.")[0] or variable.path.split("/")[0]: rate
        for variable, rate in zip(model.trainable_variables, rule.multipliers, strict=True)
    }
    wanted = {"head.fc": 1.0, "norm": 0.05, "stages.3": 0.05, "stages.0": 5e-5, "stem.conv1": 5e-6}
    assert {key: found[key] for key in wanted} == pytest.approx(wanted)


def test_blocks_are_replaced_by_their_shortcuts():
    """Without its branch, a block is the identity itself, or the projection of its activation."""
    model = small("resnetv2_18d")
    parts = cut_at_blocks(model)
    kinds = [(block.name, block.shortcut) for block in parts.blocks]
    assert kinds == [
        ("stages.0.blocks.0", "identity"),
        ("stages.0.blocks.1", "identity"),
        ("stages.1.blocks.0", "projection"),
        ("stages.2.blocks.0", "projection"),
        ("stages.3.blocks.0", "projection"),
    ]
    assert parts.blocks[0].without is None
    assert parts.blocks[0].removable
    whole = parts.stem(images_of(32, 32))
    for block in parts.blocks:
        whole = block.whole(whole)
    got, wanted = parts.head(whole), model(images_of(32, 32))
    assert np.allclose(*map(keras.ops.convert_to_numpy, (got, wanted)), rtol=1e-5, atol=1e-6)
    images = parts.stem(images_of(32, 32))
    last = model.get_layer("stages.1.blocks.0.downsample.conv")
    skipped = keras.Model(model.input, last.output)(images_of(32, 32))
    without = parts.blocks[2].without(parts.blocks[1].whole(parts.blocks[0].whole(images)))
    assert np.allclose(*map(keras.ops.convert_to_numpy, (without, skipped)), rtol=1e-5, atol=1e-6)


def test_the_head_is_linear_and_a_probe_can_fit_it():
    from rezoo.training.linear_probe import fit_head

    model = small("resnetv2_18d", classes=3)
    head = linear_head(model)
    kernel, bias = head.weights()
    assert kernel.shape == (128, 3)
    images = images_of(64, 64)
    maps = compiled_forward(head.features)(images)
    got = maps.mean((1, 2)) @ kernel + bias
    assert np.abs(got - logits_of(model, images)).max() < 1e-5
    features = np.random.default_rng(0).normal(size=(30, 128)).astype(np.float32)
    labels = np.arange(30, dtype=np.int32) % 3
    features[:, :3] += 9 * np.eye(3)[labels]
    _, logits = fit_head(model, features, labels, 3, seed=0)
    assert (logits.argmax(1) == labels).all()
    assert np.array_equal(head.weights()[0], keras.ops.convert_to_numpy(model.layers[-1].kernel))


@pytest.mark.backend
@pytest.mark.ci
def test_stochastic_depth_and_frozen_statistics_leave_the_network_the_same():
    plain, deep = small("resnetv2_18d"), small("resnetv2_18d", stochastic_depth=0.5)
    deep.set_weights(plain.get_weights())
    assert fingerprint(deep) == fingerprint(plain) != fingerprint(small("resnetv2_50"))
    images = images_of(32, 32)
    assert np.array_equal(logits_of(deep, images), logits_of(plain, images))
    trained = [keras.ops.convert_to_numpy(deep(images, training=True)) for _ in range(4)]
    assert any(not np.array_equal(one, trained[0]) for one in trained[1:])
    before = [keras.ops.convert_to_numpy(v) for v in plain.non_trainable_variables]
    freeze_statistics(plain)
    plain(images, training=True)
    after = [keras.ops.convert_to_numpy(v) for v in plain.non_trainable_variables]
    assert all(map(np.array_equal, before, after))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnetv2_18d", "resnetv2_50x1_bit", "resnetv2_50d_evos"])
def test_networks_run_nested_and_after_cloning(name):
    model = small(name, depths=(1, 1, 1, 1))
    image = keras.Input((64, 64, 3))
    around = keras.Model(image, keras.layers.Rescaling(2.0)(model(image)))
    images = images_of(64, 64)
    wanted = logits_of(model, images)
    assert np.allclose(logits_of(around, images), 2 * wanted, rtol=1e-5, atol=1e-7)
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    assert np.array_equal(logits_of(clone, images), wanted)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnetv2_18d", "resnetv2_50d_evos", "resnetv2_50x1_bit"])
def test_exported_graphs_give_the_logits(name):
    """In ONNX, and as Keras's own layers, which LiteRT and SavedModel are made from."""
    runtime = pytest.importorskip("onnxruntime")
    from onnx import TensorProto, helper

    from rezoo.exporters.graph import read_graph
    from rezoo.exporters.keras_file import to_keras
    from rezoo.exporters.onnx_graph import IR_VERSION, OPSET, OnnxGraph, add_network

    model = small(name)
    for variable in model.weights:  # the sign of what is pooled, and norms, are not trivial
        if variable.path.endswith(("gamma", "beta", "/v", "moving_mean")):
            value = np.random.default_rng(0).uniform(-0.3, 0.5, variable.shape)
            variable.assign(value.astype(np.float32))
    images = images_of(49, 64)
    wanted = logits_of(model, images)
    graph, made = read_graph(model, (49, 64, 3)), OnnxGraph()
    prepared = made.add("Transpose", ["image"], "prepared", perm=[0, 3, 1, 2])
    shape = add_network(made, graph, prepared, output="logits")
    value = helper.make_tensor_value_info
    built = helper.make_graph(
        made.nodes,
        "small",
        [value("image", TensorProto.FLOAT, ["N", 49, 64, 3])],
        [value("logits", TensorProto.FLOAT, shape)],
        made.constants,
    )
    opsets = [helper.make_opsetid("", OPSET)]
    content = helper.make_model(built, opset_imports=opsets, ir_version=IR_VERSION)
    session = runtime.InferenceSession(content.SerializeToString())
    for found in (session.run(None, {"image": images})[0], logits_of(to_keras(graph), images)):
        assert np.abs(found - wanted).max() <= 1e-4 * np.abs(wanted).max()
