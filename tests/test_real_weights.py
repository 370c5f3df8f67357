"""Real weights on real photographs, compared with torch and Pillow."""

import shutil

import numpy as np
import pytest

import rezoo
from peers import import_timm, logits_of, timm_network
from rezoo.artifacts.config import imagenet1k_classes
from rezoo.data import pipeline
from rezoo.models.normalization import normalized

pytestmark = pytest.mark.ci


@pytest.fixture(scope="module")
def weights(shared):
    return shared / "data" / "weights" / "resnet50_v1_keras"


@pytest.fixture(scope="module")
def photographs(shared, tmp_path_factory):
    """The photographs, one folder per class; file names begin with the WordNet id."""
    folder = tmp_path_factory.mktemp("photographs")
    for path in sorted((shared / "data" / "imagenet_photos").glob("*.JPEG")):
        below = folder / path.name.split("_", 1)[0]
        below.mkdir()
        shutil.copy(path, below)
    return folder


def pillow_input(path, size=224, crop_pct=0.875):
    """Return the pixels of torchvision's and timm's test transforms, from 0 to 255."""
    image_module = pytest.importorskip("PIL.Image")
    image = image_module.open(path).convert("RGB")
    shorter = int(size / crop_pct)
    width, height = image.size
    if width > height:
        new = (int(shorter * width / height), shorter)
    else:
        new = (shorter, int(shorter * height / width))
    image = image.resize(new, image_module.Resampling.BILINEAR)
    left, top = (round((side - size) / 2.0) for side in image.size)
    return np.asarray(image.crop((left, top, left + size, top + size)), np.float32)


@pytest.mark.slow
def test_accuracy_and_torch_on_the_same_pixels(weights, photographs):
    result = rezoo.evaluate(str(weights), f"folder:{photographs}", split="all")
    assert result.scores.count == 100
    assert result.scores.top1 >= 0.88

    import_timm()
    from safetensors.torch import load_file

    twin = timm_network("resnet50_v1").eval()
    twin.load_state_dict(load_file(weights / "model.safetensors"))
    model = rezoo.load(str(weights))
    data = rezoo.load_dataset(photographs)
    batches = data.batches("all", model=str(weights), batch_size=25)
    ids, _ = imagenet1k_classes()
    truth = np.array([ids.index(name) for name in data.class_names])
    right, answers = 0, []
    for images, labels in batches.as_numpy_iterator():
        theirs = logits_of(twin, images)
        answers.append(theirs.argmax(1))
        right += int((answers[-1] == truth[labels]).sum())
    ours = logits_of(model, images)
    assert np.abs(ours - theirs).max() <= 1e-5 * np.abs(theirs).max()
    assert np.array_equal(result.predictions.top[:, 0], np.concatenate(answers))
    assert right / 100 == result.scores.top1
    paths = [photographs / data.examples("all").key(i) for i in range(75, 100)]
    assert np.array_equal(rezoo.preprocess(model, paths), images)


@pytest.mark.slow
def test_predictions_on_pillows_pixels(weights, photographs):
    """The same network on Pillow's pixels: nearly all predictions agree."""
    model = rezoo.load(str(weights))
    pre = model.rezoo_config.preprocessing
    examples = rezoo.load_dataset(f"folder:{photographs}").examples("all")
    paths = [photographs / examples.key(i) for i in range(len(examples))]
    (levels, _), *rest = pipeline.test_batches(examples, pre, batch_size=100).as_numpy_iterator()
    assert not rest
    pixels = np.stack([pillow_input(path) for path in paths])
    ours, theirs = (normalized(x.astype(np.float32), pre) for x in (levels, pixels))
    grey_levels = np.abs(levels - pixels).mean()
    print(f"mean difference to Pillow: {grey_levels:.3f} of 255")
    assert grey_levels <= 0.3
    same = logits_of(model, ours).argmax(1) == logits_of(model, theirs).argmax(1)
    assert same.mean() >= 0.98


def test_a_cat_is_a_cat(weights, shared):
    (answer,) = rezoo.predict(
        str(weights), shared / "data" / "pets" / "images" / "Persian_175.jpg", top_k=1
    )
    assert answer.labels == ("Persian cat",)
