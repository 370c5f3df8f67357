"""Features: the maps of each family against timm's, files of them, and exports."""

import json

import keras
import numpy as np
import pytest

import rezoo
from conftest import fails
from peers import import_timm
from rezoo import create_model, load, registry
from rezoo.errors import SpecError, UnknownNameError
from rezoo.models import tensors
from rezoo.models.feature_maps import FeatureInfo, feature_info, pooled
from tiny import NETWORK, tiny_network  # noqa: F401 - a fixture

# the smallest of each way to name and build stages
FAMILIES = ["test_resnet", "resnetv2_18d"]


def every_family():
    """Return the smallest member in timm of each family; only two of them are fast."""
    smallest = {}
    for name, claims in registry.architectures.entries().items():
        spec = registry.architectures.get(name) if any(e.builtin for e in claims) else None
        if spec is not None and spec.in_timm:
            known = smallest.setdefault(spec.family, spec)
            smallest[spec.family] = min(known, spec, key=lambda s: s.params)
    names = dict.fromkeys([*FAMILIES, *(spec.name for spec in smallest.values())])
    return [
        pytest.param(n, marks=pytest.mark.ci if n in FAMILIES else pytest.mark.slow) for n in names
    ]


def images_of(count, side):
    return np.random.default_rng(1).standard_normal((count, side, side, 3), dtype=np.float32)


@pytest.mark.parametrize("name", every_family())
@pytest.mark.backend
def test_maps_channels_and_strides_are_those_of_timm(name):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    twin = import_timm().create_model(name, features_only=True, out_indices=(1, 2, 3, 4)).eval()
    model = create_model(name, features_only=True)
    wanted = zip(twin.feature_info.channels(), twin.feature_info.reduction(), strict=True)
    assert [(info.channels, info.stride) for info in model.feature_info] == list(wanted)
    names = [info.module.replace(".", "_") for info in model.feature_info]
    assert names == [n.replace(".", "_") for n in twin.feature_info.module_name()]
    # timm flattens the names of modules here
    state = {
        key.replace("stages_", "stages.").replace("stem_", "stem."): value.numpy()
        for key, value in twin.state_dict().items()
    }
    tensors.assign(model, state.__getitem__)
    images = images_of(1, 96)
    with torch.no_grad():
        theirs = twin(torch.from_numpy(images.transpose(0, 3, 1, 2).copy()))
    for ours, one in zip(model(images, training=False), theirs, strict=True):
        got, other = keras.ops.convert_to_numpy(ours), one.numpy().transpose(0, 2, 3, 1)
        assert np.abs(got - other).max() <= 1e-4 * np.abs(other).max()


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("resnet20", [("layer1", 16, 1), ("layer2", 32, 2), ("layer3", 64, 4)]),
        ("preact_resnet110", [("stages.0", 16, 1), ("stages.1", 32, 2), ("stages.2", 64, 4)]),
        (
            "vgg16",
            [(f"features.{i}", c, s) for i, c, s in ((8, 128, 2), (15, 256, 4))]
            + [(f"features.{i}", 512, s) for i, s in ((22, 8), (29, 16), (30, 32))],
        ),
    ],
)
@pytest.mark.ci
def test_other_networks_have_feature_maps_too(name, wanted):
    with keras.StatelessScope(initialize_variables=False):
        model = create_model(name, input_shape=(224, 224, 3))
    keras.utils.clear_session(free_memory=False)
    assert feature_info(model) == tuple(FeatureInfo(*one) for one in wanted)


def test_features_of_images_are_those_of_the_layers(tiny_network, tmp_path):  # noqa: F811
    model = create_model(NETWORK, num_classes=3)
    arrays = np.random.default_rng(0).integers(0, 256, (5, 20, 30, 3), dtype=np.uint8)
    names = [layer.name for layer in model.layers[1:]]
    first = next(name for name in names if "conv" in name)
    found = rezoo.features(model, arrays, layers=[first, "global_pool"], batch_size=2)
    inputs = rezoo.preprocess(model, arrays)
    outputs = [model.get_layer(first).output, pooled(model).output]
    for got, wanted in zip(
        found.arrays.values(), keras.Model(model.input, outputs)(inputs), strict=True
    ):
        assert np.allclose(got, keras.ops.convert_to_numpy(wanted), atol=1e-5)
    assert found.images == ("0", "1", "2", "3", "4")
    usual = rezoo.features(model, arrays)
    assert list(usual.arrays) == ["global_pool"]
    assert np.allclose(usual["global_pool"], found["global_pool"], atol=1e-5)
    without = create_model(NETWORK, num_classes=0)
    without.set_weights(model.get_weights()[:-2])
    assert np.allclose(
        rezoo.features(without, arrays)["global_pool"], found["global_pool"], atol=1e-5
    )
    found.save(tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz") as file:
        assert set(file) == {"images", first, "global_pool"}
        assert np.array_equal(file["global_pool"], found["global_pool"])


def test_unknown_layers_are_named_with_near_ones(tiny_network):  # noqa: F811
    model = create_model("resnet20")
    picture = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(UnknownNameError, match="no layer or stage 'layer5'") as caught:
        rezoo.features(model, picture, layers=["layer5"])
    assert "layer1" in caught.value.hint
    with pytest.raises(UnknownNameError) as caught:
        rezoo.features(model, picture, layers=["penultimate"])
    assert caught.value.hint == (
        "the stages and the pooled vector are global_pool, layer1, layer2, layer3."
    )
    with pytest.raises(SpecError, match="layers"):
        rezoo.features(model, picture, layers=[])


@pytest.mark.ci
def test_predict_writes_features_of_a_run(trained, call, photographs, tmp_path):
    file, broken = tmp_path / "out.npz", tmp_path / "broken.jpg"
    broken.write_bytes(b"no image")
    pictures = sorted(photographs({"cat": 3}).rglob("*.jpg"))
    arguments = ("predict", trained, *pictures, broken)
    result = call(*arguments, "--features", str(file), "--json")
    assert result.rc == 5
    said = json.loads(result.out)
    assert list(said["errors"]) == [str(broken)]
    with np.load(file) as found:
        assert found["global_pool"].shape == tuple(said["arrays"]["global_pool"])
        assert found["images"].tolist() == list(map(str, pictures))
    fails(call(*arguments, "--features", str(file)), 2, "exists")
    fails(call(*arguments, "--features", str(tmp_path / "a.csv")), 2, "not a .npz file")
    fails(call(*arguments, "--layer", "conv1"), 2, "--layer has no effect without --features")
    fails(call(*arguments, "--features", "b.npz", "--top-k", "2"), 2, "--top-k has no effect")
    # refused before an image is read: none of these can be
    unread = ("predict", trained, broken, "--features", "b.npz")
    fails(call(*unread, "--layer", "layer9"), 2, "no layer or stage 'layer9'", "Did you mean")
    fails(call(*unread), 5, "none of 1 images can be decoded")


@pytest.mark.parametrize(
    "to",
    [
        pytest.param("onnx", marks=pytest.mark.ci),
        pytest.param("litert", marks=pytest.mark.slow),
    ],
)
def test_an_export_gives_features(trained, tmp_path, to):
    pytest.importorskip({"onnx": "onnxruntime", "litert": "ai_edge_litert"}[to])
    from rezoo.exporters.runner import open_exported

    reference = str(trained)
    passport = rezoo.export(reference, to, gives="features", output=tmp_path / to, measure=False)
    assert passport.comparison.holds
    assert passport.comparison.accuracy is None
    run, model = open_exported(tmp_path / to), load(reference)
    inputs = np.random.default_rng(0).random((3, *run.metadata["input_shape"]), np.float32)
    wanted = keras.ops.convert_to_numpy(pooled(model)(inputs))
    assert np.abs(run(inputs) - wanted).max() <= 1e-4 * np.abs(wanted).max()
    with pytest.raises(SpecError, match="features predict no class"):
        rezoo.export(reference, to, gives="features", quantize="int8", output=tmp_path / "b")
