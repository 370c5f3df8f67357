"""Weights written by timm give timm's logits here, and weights written here give ours there."""

import json
import re

import keras
import numpy as np
import pytest

from peers import ROUNDINGS, import_timm, logits_of, rounding, timm_network, torch_twin
from rezoo import create_model, load, registry
from rezoo.artifacts import weights
from rezoo.specs import ModelConfig
from test_info import COUNTS
from zoo import cost, networks, ours

timm = import_timm()
torch = pytest.importorskip("torch")
safetensors_torch = pytest.importorskip("safetensors.torch")
FlopCounterMode = pytest.importorskip("torch.utils.flop_counter").FlopCounterMode

pytestmark = [pytest.mark.ci, pytest.mark.backend]

ON_TENSORFLOW = keras.config.backend() == "tensorflow"
once = pytest.mark.skipif(not ON_TENSORFLOW, reason="files and counts of both backends are equal")
RELATIVE = 1e-5  # of the largest logit; float32 against float32 reached 1e-6
ODD = (225, 193)  # the last pooling window is cut
# shortcuts, channel attention of each family, further parts of a layer
BESIDE = re.compile(r"\b(downsample|se|attn|conv2\.fc\d|paths\.1|convs\.[1-9])\b")
# each block, stem and shortcut once: enough for a second size
PARTS = ["resnet18", "resnet50_v1", "resnet10t", "resnet50s", "wide_resnet50_2", "test_resnet"]
ON_JAX = ["resnet50_v1", "test_resnet"]


def architectures():
    """Return what rezoo itself registers and timm has, too."""
    specs = [registry.architectures.get(name) for name in ours()]
    return [spec.name for spec in specs if spec.in_timm or spec.name == "resnet50_v1"]


def on_backend(names):
    """Return networks as the parameters of a test; on JAX a few: the files are the same."""
    return networks(name for name in names if ON_TENSORFLOW or name in ON_JAX)


def write_folder(folder, name, state):
    """Write weights as timm does: its file names, its tensor names, counters included."""
    safetensors_torch.save_file(
        {k: v.contiguous() for k, v in state.items()}, folder / "model.safetensors"
    )
    config = {
        "architecture": name,
        "num_classes": 10,
        "pretrained_cfg": {"input_size": [3, 224, 224]},
    }
    (folder / "config.json").write_text(json.dumps(config))


def images_of(size, seed=1):
    return np.random.default_rng(seed).standard_normal((2, *size, 3), dtype=np.float32)


@pytest.mark.parametrize("name", on_backend(architectures()))
@pytest.mark.numerics
def test_torch_weights_give_torch_logits(name, tmp_path):
    twin = torch_twin(name)
    write_folder(tmp_path, name, twin.state_dict())
    model = load(str(tmp_path))
    for size in [ODD, (224, 224)] if ON_TENSORFLOW and name in PARTS else [ODD]:
        images = images_of(size)
        wanted, got = logits_of(twin, images), logits_of(model, images)
        difference = np.abs(wanted - got).max() / np.abs(wanted).max()
        print(f"{keras.config.backend()} {name} {size}: {difference:.1e} of the largest logit")
        assert difference <= RELATIVE or difference <= ROUNDINGS * rounding(twin, images)


@once
@pytest.mark.parametrize("name", networks(architectures(), ci=()))
def test_counts_are_those_of_torch(name):
    with torch.device("meta"):  # shapes only
        twin, image = timm_network(name).eval(), torch.empty(1, 3, 224, 224)
    outputs, blurred = {}, []
    for place, module in twin.named_modules():
        if isinstance(module, timm.layers.BlurPool2d):  # pooling, not a layer with weights
            module.register_forward_hook(
                lambda m, i, o: blurred.append(m.filt[0].numel() * o.numel())
            )
        if isinstance(module, (torch.nn.Conv2d, torch.nn.Conv1d, torch.nn.Linear)):
            module.register_forward_hook(lambda m, i, o, place=place: outputs.update({place: o}))
    with FlopCounterMode(display=False) as flops:
        twin(image)
    layers = sum(not BESIDE.search(place) for place in outputs)
    params = sum(p.numel() for p in twin.parameters())
    statistics = sum(b.numel() for k, b in twin.named_buffers() if ".running_" in k)
    macs = flops.get_total_flops() // 2 - sum(blurred)
    activations = sum(o.numel() for o in outputs.values())
    found = (layers, params, statistics, macs, activations)
    print(f'"{name}": ({layers}, {params:_}, {statistics:_}, {macs:_}, {activations:_}),')
    here = cost(name, size=224)
    assert (here.weighted_layers, here.params, here.statistics) == (layers, params, statistics)
    assert (here.macs, here.activations) == (macs, activations)
    assert COUNTS.get(name, found) == found


@pytest.mark.parametrize(
    "name", on_backend(("resnet18", "test_resnet", "resnet26t", "wide_resnet50_2"))
)
def test_our_folder_opens_in_timm(name, tmp_path):
    model = create_model(name, num_classes=7)
    for variable in model.non_trainable_variables:  # statistics that are not trivial
        value = np.random.default_rng(2).uniform(0.5, 1.5, variable.shape)
        variable.assign(value.astype(np.float32))
    names = tuple("abcdefg")
    config = ModelConfig(architecture=name, num_classes=7, class_names=names)
    weights.save_model(model, config, tmp_path)
    twin = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    images = images_of((96, 96))
    wanted, got = logits_of(model, images), logits_of(twin, images)
    assert np.abs(wanted - got).max() <= RELATIVE * np.abs(wanted).max()


@once
@pytest.mark.parametrize("name", ["resnet26t", "test_resnet"])
def test_timm_adapts_our_folder_to_other_channels(name, tmp_path):
    """It looks for the first convolution under the name that config.json gives."""
    weights.save_model(
        create_model(name, num_classes=7), ModelConfig(architecture=name, num_classes=7), tmp_path
    )
    twin = timm.create_model(f"local-dir:{tmp_path}", pretrained=True, in_chans=1).eval()
    assert logits_of(twin, images_of((64, 64))[..., :1]).shape == (2, 7)


@once
def test_grey_network_opens_in_timm(tmp_path):
    from rezoo.specs import Preprocessing

    model = create_model("resnet18", num_classes=10, input_shape=(None, None, 1))
    pre = Preprocessing(input_size=(1, 32, 32), mean=(0.5,), std=(0.5,))
    weights.save_model(
        model, ModelConfig(architecture="resnet18", num_classes=10, preprocessing=pre), tmp_path
    )
    twin = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    images = images_of((32, 32))[..., :1]
    wanted, got = logits_of(model, images), logits_of(twin, images)
    assert np.abs(wanted - got).max() <= RELATIVE * np.abs(wanted).max()


@once
def test_v1_weights_differ_in_v15(tmp_path):
    """The control: equal shapes, another stride, other logits."""
    twin = torch_twin("resnet50_v1")
    write_folder(tmp_path, "resnet50", twin.state_dict())
    images = images_of((96, 96))
    wanted, got = logits_of(twin, images), logits_of(load(str(tmp_path)), images)
    assert np.abs(wanted - got).max() > 100 * RELATIVE * np.abs(wanted).max()


# Rounding differences grow with the steps. Where one flips a ReLU, they jump; a wrong step
# would differ for every draw of the images.
@pytest.mark.parametrize(
    ("steps", "tolerance"), [(1, 1e-4), (3, 2e-2)] if ON_TENSORFLOW else [(1, 1e-4)]
)
def test_training_steps_follow_torch(steps, tolerance):
    """SGD with Nesterov and coupled decay: the same weights and statistics as torch."""
    found = []
    for seed in (3, 4, 5):
        found.append(training_differences(steps, seed))
        print(f"{keras.config.backend()}, seed {seed}: {found[-1]} of the update")
        if max(found[-1].values()) <= tolerance:
            return
    pytest.fail(f"every draw differs: {found}")


def training_differences(steps, seed):
    """Train here and in torch; return how far the updates differ, by kind of tensor."""
    from rezoo.models import tensors
    from rezoo.recipes.recipe import Recipe
    from rezoo.training.step import training_step

    recipe = Recipe(
        name="t",
        epochs=1,
        learning_rate=0.01,
        schedule="constant",
        nesterov=True,
        decay_norm_and_bias=True,
        weight_decay=1e-2,
        label_smoothing=0.1,
    )
    twin = torch_twin("resnet18").train()
    model = create_model("resnet18", num_classes=10, input_shape=(64, 64, 3))
    before = {k: v.numpy().copy() for k, v in twin.state_dict().items()}
    tensors.assign(model, before.__getitem__)
    images = np.random.default_rng(seed).standard_normal((8, 64, 64, 3), dtype=np.float32)
    labels = np.arange(8, dtype=np.int32)
    step = training_step(model, recipe, steps_per_epoch=100)
    optimizer = torch.optim.SGD(twin.parameters(), 0.01, 0.9, weight_decay=1e-2, nesterov=True)
    criterion = torch.nn.CrossEntropyLoss(label_smoothing=0.1)
    losses = []
    for _ in range(steps):
        loss = step([(images, labels)]).read().loss
        optimizer.zero_grad()
        logits = twin(torch.from_numpy(images.transpose(0, 3, 1, 2).copy()))
        wanted = criterion(logits, torch.from_numpy(labels).long())
        wanted.backward()
        optimizer.step()
        losses.append(abs(loss / wanted.item() - 1))
    ours, after = tensors.to_tensors(model), twin.state_dict()
    differences = {"loss": max(losses)}
    for kind in ("weight", "bias", "running_mean", "running_var"):
        if kind == "running_var" and keras.config.backend() != "tensorflow":
            continue  # Keras keeps the biased variance there
        names = [name for name in before if name.endswith(f".{kind}")]
        wanted = np.concatenate([(after[n].numpy() - before[n]).ravel() for n in names])
        got = np.concatenate([(ours[n] - before[n]).ravel() for n in names])
        differences[kind] = float(np.linalg.norm(got - wanted) / np.linalg.norm(wanted))
    return differences
