"""Images prepared for a network in Python: the pixels that `predict` and `evaluate` use."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import rezoo
from conftest import encoded, picture
from peers import logits_of
from rezoo.errors import IncompatibleError, IntegrityError, SpecError
from rezoo.evaluation.forward import compiled_forward, network_of
from rezoo.sources.any_model import source_of
from rezoo.specs import ModelConfig, Preprocessing
from tiny import NETWORK, tiny_network  # noqa: F401 - a fixture

PREPROCESSING = Preprocessing(
    input_size=(3, 24, 32), test_input_size=(3, 28, 36), mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6)
)


@pytest.fixture(scope="module")
def model():
    """A network with other mean, deviation and size than any default."""
    return network(PREPROCESSING, "cat", "dog")


def network(preprocessing, *names, shape=(None, None, 3), activation=None):
    built = rezoo.create_model(
        NETWORK, num_classes=len(names), input_shape=shape, classifier_activation=activation
    )
    built.rezoo_config = ModelConfig(
        architecture=NETWORK,
        num_classes=len(names),
        preprocessing=preprocessing,
        class_names=names,
    )
    return built


@pytest.fixture
def folder(photographs) -> Path:
    return photographs({"cat": 3, "dog": 3}, ending=".png")


def files_of(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.png"))


def test_the_same_image_gives_the_same_pixels_in_any_form(model, tmp_path):
    image = picture(1)
    file, content = tmp_path / "a.png", encoded(image, "PNG")
    file.write_bytes(content)
    wanted = rezoo.preprocess(model, file)
    assert (wanted.shape, wanted.dtype) == ((1, 28, 36, 3), np.float32)
    pixels = np.asarray(image)
    assert np.array_equal(rezoo.preprocess(model, np.array([str(file)])), wanted)
    several = [file, str(file), content, image, pixels]
    for form in (*several, [image], pixels[None], np.stack([pixels])):
        np.testing.assert_array_equal(rezoo.preprocess(model, form), wanted)
    np.testing.assert_array_equal(
        rezoo.preprocess(model, several), np.repeat(wanted, len(several), axis=0)
    )


def test_a_batch_of_arrays_and_a_grey_image(model):
    pixels = np.stack([np.asarray(picture(i)) for i in range(3)])
    rows = rezoo.preprocess(model, pixels)
    assert rows.shape == (3, 28, 36, 3)
    np.testing.assert_array_equal(rows[2:], rezoo.preprocess(model, pixels[2]))
    grey = np.asarray(picture(1, grey=True))
    colours = np.repeat(grey[..., None], 3, axis=2)
    for form in (grey, grey[..., None], Image.fromarray(grey)):
        np.testing.assert_array_equal(
            rezoo.preprocess(model, form), rezoo.preprocess(model, colours)
        )
    assert rezoo.preprocess(model, []).shape == (0, 28, 36, 3)


def test_a_pillow_image_is_turned_upright_and_left_as_it_is(model):
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encoded(picture(2), "PNG", exif=exif)
    image = Image.open(io.BytesIO(content))
    np.testing.assert_array_equal(rezoo.preprocess(model, image), rezoo.preprocess(model, content))
    assert image.size == (48, 40)
    assert image.getexif()[0x0112] == 6


@pytest.mark.parametrize(
    ("images", "fragment"),
    [
        (np.zeros((4, 4, 3)), "an image is float64; only uint8"),
        (np.zeros((3, 224, 224), np.uint8), "shape (3, 224, 224)"),
        (np.zeros((4, 4, 4), np.uint8), "shape (4, 4, 4)"),
        (np.zeros((0, 4, 3), np.uint8), "shape (0, 4, 3)"),
        (np.zeros((2, 2, 2, 2, 3), np.uint8), "shape (2, 2, 2, 2, 3)"),
        (5, "type int"),
        ([None], "type NoneType"),
    ],
)
def test_what_is_no_image_is_refused(model, images, fragment):
    for function in (rezoo.preprocess, rezoo.predict):
        with pytest.raises(SpecError) as caught:
            function(model, images)
        assert fragment in str(caught.value)


def test_an_image_that_cannot_be_read_is_named(model, tmp_path):
    with pytest.raises(IntegrityError, match=r"no\.png: the file is not there"):
        rezoo.preprocess(model, tmp_path / "no.png")
    with pytest.raises(IntegrityError, match="image 1: a web page"):
        rezoo.preprocess(model, [picture(1), b"<html>"])
    cut = Image.open(io.BytesIO(encoded(picture(1), "PNG")[:600]))
    with pytest.raises(IntegrityError, match="image 0: "):
        rezoo.preprocess(model, cut)


# batches of a dataset


@pytest.mark.ci
@pytest.mark.filterwarnings("ignore:Your input ran out of data")  # Keras, at an unknown end
def test_batches_for_a_model_are_what_evaluate_and_predict_use(model, folder):
    data = rezoo.load_dataset(folder)
    logits = logits_of(model, rezoo.preprocess(model, files_of(folder)))
    found = model.predict(data.batches("all", model=model, batch_size=4), verbose=0)
    order = [files_of(folder).index(folder / data.examples("all").key(i)) for i in range(6)]
    np.testing.assert_allclose(found, logits[order], rtol=1e-5, atol=1e-7)
    answers = rezoo.predict(model, folder)
    shifted = np.exp(logits - logits.max(1, keepdims=True))
    np.testing.assert_allclose(
        [a.probabilities for a in answers],
        np.sort(shifted / shifted.sum(1, keepdims=True))[:, ::-1],
        rtol=1e-5,
    )
    truth = np.array([0, 0, 0, 1, 1, 1])
    scores = rezoo.evaluate(model, data, split="all").scores
    assert scores.top1 == (logits.argmax(1) == truth).mean()


def test_batches_without_a_model_are_refused(model):
    data = rezoo.load_dataset("digits")
    with pytest.raises(SpecError, match="batches need either model or preprocessing") as caught:
        data.batches("test")
    assert "model=model" in caught.value.hint
    with pytest.raises(SpecError, match="batch_size: 0"):
        data.batches("test", model=model, batch_size=0)
    with pytest.raises(SpecError, match="either"):
        data.batches("test", model=model, preprocessing=PREPROCESSING)
    images, _ = data.batches("all", preprocessing=data.preprocessing, image_size=8).element_spec
    assert tuple(images.shape) == (None, 8, 8, 1)


def test_a_model_of_fixed_size_gets_images_of_that_size():
    fixed = network(PREPROCESSING, "cat", "dog", shape=(20, 12, 3))
    assert source_of(fixed).config.preprocessing.for_test().size == (20, 12)
    for function in (rezoo.predict, rezoo.preprocess):
        with pytest.raises(SpecError, match="the input of the model is 20x12"):
            function(fixed, picture(1), image_size=16)


# predictions


def test_predictions_of_objects_have_an_index_and_those_of_files_a_path(model, folder):
    first, *_ = files_of(folder)
    answers = rezoo.predict(model, [picture(0), first, encoded(picture(1)), b"x"], batch_size=2)
    assert [a.index for a in answers] == [0, 1, 2, 3]
    assert [a.path for a in answers] == ["", str(first), "", ""]
    assert answers[0].probabilities == answers[1].probabilities
    assert answers[3].error
    names = [next(iter(a.to_dict())) for a in answers]
    assert names == ["index", "path", "index", "index"]


def test_a_model_with_softmax_is_measured_by_its_logits(model):
    soft = network(PREPROCESSING, "cat", "dog", activation="softmax")
    soft.set_weights(model.get_weights())
    (ours,), (theirs,) = (rezoo.predict(m, picture(1)) for m in (model, soft))
    assert ours.probabilities == pytest.approx(theirs.probabilities)
    inputs = rezoo.preprocess(model, picture(1))
    logits = compiled_forward(network_of(soft, source_of(soft)))(inputs)
    np.testing.assert_allclose(logits, logits_of(model, inputs), rtol=1e-5, atol=1e-7)


def test_a_network_without_a_head_is_refused():
    features = rezoo.create_model(NETWORK, num_classes=0)
    features.rezoo_config = ModelConfig(architecture=NETWORK, num_classes=0)
    with pytest.raises(SpecError, match="has no classes"):
        rezoo.predict(features, picture(1))
    other = network(PREPROCESSING, "cat", "dog")
    other.rezoo_config = ModelConfig(architecture=NETWORK, num_classes=3)
    with pytest.raises(IncompatibleError, match=r"gives outputs \(None, 2\), its config has 3"):
        rezoo.predict(other, picture(1))
