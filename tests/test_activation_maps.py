"""Class activation maps: exact for every network of the zoo, and the pictures of them."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest
from PIL import Image

import rezoo
from conftest import encoded, fails, picture
from peers import logits_of
from rezoo.artifacts.weights import save_model
from rezoo.errors import (
    DivergedError,
    IncompatibleError,
    IntegrityError,
    SpecError,
    UnknownNameError,
)
from rezoo.evaluation.class_names import class_indices
from rezoo.evaluation.explaining.activation_maps import activation_map, enlarged, overlay
from rezoo.evaluation.explaining.linear_head import linear_head
from rezoo.evaluation.explaining.picture_files import picture_paths
from rezoo.evaluation.forward import compiled_forward
from rezoo.models.factory import start_from_zeros
from rezoo.specs import ModelConfig, Preprocessing
from tiny import NETWORK, tiny_network  # noqa: F401 - a fixture
from zoo import FEW, networks, ours

NAMES = ("cat", "dog", "cow")
PREPROCESSING = Preprocessing(input_size=(3, 24, 32), mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))


def network(
    name=NETWORK, *, names=NAMES, preprocessing=PREPROCESSING, multi_label=False, **options
):
    """Build a network whose weights are random throughout, the bias of the head included."""
    model = rezoo.create_model(name, num_classes=len(names), **options)
    random = np.random.default_rng(1)
    for variable in model.weights:
        if not variable.path.endswith("variance"):
            fan_in = np.prod(variable.shape[:-1]) or 1
            ones = variable.path.endswith("gamma")
            variable.assign(ones + random.normal(0, (2 / fan_in) ** 0.5 / 2, variable.shape))
    model.rezoo_config = ModelConfig(
        architecture=name,
        num_classes=len(names),
        preprocessing=preprocessing,
        class_names=names,
        multi_label=multi_label,
    )
    return model


@pytest.fixture(scope="module")
def model():
    return network()


PICTURES = [picture(i) for i in range(3)]


def close(found, wanted, tolerance=1e-5):
    np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance * np.abs(wanted).max())


def gradient(model, images, classes):
    """Return the last feature map, and the gradient of a logit with respect to it, by autodiff."""
    features = compiled_forward(linear_head(model).features)(images)
    last, head = model.get_layer("global_pool"), model.get_layer("fc")
    if keras.config.backend() == "jax":
        import jax

        def logit(values):
            return sum(row[k] for row, k in zip(head(last(values)), classes, strict=True))

        return features, np.asarray(jax.grad(logit)(features))
    import tensorflow as tf

    values = tf.constant(features)
    with tf.GradientTape() as tape:
        tape.watch(values)
        logit = tf.reduce_sum(tf.gather(head(last(values)), classes, batch_dims=1))
    return features, tape.gradient(logit, values).numpy()


@pytest.mark.backend
def test_the_mean_of_a_map_is_the_logit_that_the_network_gives(model):
    found = activation_map(model, PICTURES, batch_size=2)
    logits = logits_of(model, rezoo.preprocess(model, PICTURES))
    assert (found.maps.shape, found.maps.dtype) == ((3, 12, 16), np.float32)
    close(found.logits, logits)
    np.testing.assert_array_equal(found.classes, logits.argmax(axis=1))
    close(found.maps.mean(axis=(1, 2)), logits.max(axis=1))
    assert found.labels == tuple(NAMES[k] for k in logits.argmax(axis=1))
    assert repr(found).startswith("<ActivationMaps: 3 of 12×16, of 'c")
    assert len(found) == 3


@pytest.mark.backend
def test_a_map_is_grad_cam_of_the_last_feature_map_without_its_relu(model):
    classes = [2, 0, 1]
    images = rezoo.preprocess(model, PICTURES)
    features, slopes = gradient(model, images, classes)
    weights = slopes.mean(axis=(1, 2), keepdims=True)  # arXiv:1610.02391, equation 1
    grad_cam = (weights * features).sum(axis=3)  # equation 2, before the ReLU
    bias = np.asarray(model.get_layer("fc").bias)[classes]
    positions = features.shape[1] * features.shape[2]
    found = activation_map(model, PICTURES, classes)
    close(found.maps, grad_cam * positions + bias[:, None, None])


def test_images_in_any_form_and_classes_by_name_or_index(model, tmp_path):
    (tmp_path / "a.png").write_bytes(encoded(PICTURES[0], "PNG"))
    wanted = activation_map(model, PICTURES[0], "dog")
    assert wanted.labels == ("dog",)
    np.testing.assert_array_equal(wanted.classes, [1])
    assert wanted.pixels.shape == (1, 24, 32, 3)
    array, content = np.asarray(PICTURES[0]), encoded(PICTURES[0], "PNG")
    forms = [tmp_path, tmp_path / "a.png", str(tmp_path / "a.png"), array, content, PICTURES[0]]
    found = activation_map(model, forms, "dog")
    for one in found.maps:
        np.testing.assert_array_equal(one, wanted.maps[0])
    for classes in ("Dog", 1, np.int64(1), ["dog"], np.array([1]), np.array(["dog"])):
        np.testing.assert_array_equal(class_indices(classes, model.rezoo_config, 1), [1])
    each = activation_map(model, PICTURES, ["cow", 0, "dog"], batch_size=1)
    np.testing.assert_array_equal(each.classes, [2, 0, 1])
    close(each.maps.mean(axis=(1, 2)), each.logits[[0, 1, 2], [2, 0, 1]])


def test_a_class_that_does_not_exist_is_refused_with_similar_names(model):
    for classes, error, message, hint in (
        ("dgo", UnknownNameError, "no class 'dgo'", "Did you mean dog?"),
        ("giraffe", UnknownNameError, "no class 'giraffe'", "the classes are cat, cow, dog."),
        (3, SpecError, "class 3; allowed are names, and 0 to 2", ""),
        (2.0, SpecError, "classes: an object of the type float", "indices as integers"),
        ([1.5], SpecError, "class 1.5; allowed are names, and 0 to 2", ""),
        (-1, SpecError, "class -1", ""),
        (["cat", "dog"], SpecError, "classes: 2 for 1 images", "one for each"),
    ):
        with pytest.raises(error) as caught:
            class_indices(classes, model.rezoo_config, 1)
        assert message in str(caught.value)
        assert hint in caught.value.hint
        assert caught.value.exit_code == 2


def test_a_name_that_two_classes_share_asks_for_the_id():
    config = ModelConfig(
        architecture=NETWORK,
        num_classes=3,
        class_names=("n1", "n2", "n3"),
        class_descriptions=("crane", "crane", "tench"),
    )
    for name, index in (("tench", 2), ("n2", 1), ("N3", 2)):
        np.testing.assert_array_equal(class_indices(name, config, 2), [index, index])
    with pytest.raises(UnknownNameError, match="2 classes of the network are called 'crane'") as e:
        class_indices("crane", config, 1)
    assert e.value.hint == "name one of them by its id: n1, n2."
    nameless = ModelConfig(architecture=NETWORK, num_classes=3)
    np.testing.assert_array_equal(class_indices("2", nameless, 1), [2])


def test_an_image_that_cannot_be_read_is_named(model):
    with pytest.raises(IntegrityError, match="image 2: a web page"):
        activation_map(model, [*PICTURES[:2], b"<html>"], batch_size=1)


# other models


@pytest.mark.backend
def test_networks_of_several_labels_and_with_probabilities_have_the_maps_of_the_logits():
    wanted = activation_map(network(), PICTURES)
    for other in (network(classifier_activation="softmax"), network(multi_label=True)):
        found = activation_map(other, PICTURES)
        close(found.maps, wanted.maps, 1e-6)
        close(found.logits, wanted.logits, 1e-6)
        assert found.labels == wanted.labels


def nodes(model):
    return [len(layer._inbound_nodes) for layer in model.layers]


@pytest.mark.backend
def test_a_network_inside_a_model_of_the_user_has_the_same_maps(model):
    wanted, before = activation_map(model, PICTURES, "dog"), nodes(model)
    image = keras.Input((24, 32, 3))
    once = keras.Model(image, model(image))
    twice = keras.Sequential([keras.Input((24, 32, 3)), once, keras.layers.Softmax()])
    for outer in (once, twice):
        found = activation_map(outer, PICTURES, 1)
        close(found.maps, wanted.maps, 1e-6)
        assert found.labels == (("dog",) * 3 if outer is once else ("1",) * 3)
    assert nodes(model) == before


@pytest.mark.backend
def test_a_new_head_on_features_of_a_network_has_its_own_maps():
    body = rezoo.create_model(NETWORK, num_classes=0)
    body.rezoo_config = ModelConfig(
        architecture=NETWORK, num_classes=0, preprocessing=PREPROCESSING
    )
    image = keras.Input((24, 32, 3))
    features = keras.layers.Dropout(0.5)(body(image))
    outer = keras.Model(
        image, keras.layers.Dense(5, activation="softmax", use_bias=False)(features)
    )
    found = activation_map(outer, PICTURES)
    rows = np.exp(found.logits)
    close(
        rows / rows.sum(axis=1, keepdims=True), logits_of(outer, rezoo.preprocess(body, PICTURES))
    )
    close(found.maps.mean(axis=(1, 2)), found.logits.max(axis=1))
    assert found.labels == tuple(map(str, found.classes))


def test_a_model_that_changes_images_first_needs_a_configuration_of_its_own(model):
    image = keras.Input((24, 32, 3))
    outer = keras.Model(image, model(keras.layers.Rescaling(2.0)(image)))
    with pytest.raises(SpecError, match="has no rezoo_config: its preprocessing is not known"):
        activation_map(outer, PICTURES)
    outer.rezoo_config = model.rezoo_config
    found = activation_map(outer, PICTURES)
    close(found.logits, logits_of(outer, rezoo.preprocess(model, PICTURES)))


def test_a_network_without_a_linear_head_is_refused():
    image = keras.Input((24, 32, 3))
    flat = keras.layers.Flatten()(image)
    dense = keras.layers.Dense(3, name="last")(flat)
    hidden = keras.layers.Dense(3, activation="relu", name="hidden")(flat)
    for outputs, message in (
        (dense, "expected is global average pooling before 'last', found is 'flat"),
        (hidden, "expected is a dense layer without activation, softmax or sigmoid, found is 'hid"),
        (flat, "found is 'flat"),
        (keras.layers.add([dense, hidden]), "found is 'add"),
    ):
        other = keras.Model(image, outputs)
        other.rezoo_config = ModelConfig(
            architecture="mine", num_classes=outputs.shape[1], preprocessing=PREPROCESSING
        )
        with pytest.raises(IncompatibleError) as caught:
            activation_map(other, PICTURES)
        assert message in str(caught.value)
        assert caught.value.exit_code == 6


def test_a_feature_map_of_one_position_is_refused_with_a_size_that_works(model):
    one = network(preprocessing=Preprocessing(input_size=(3, 2, 2)))
    with pytest.raises(
        IncompatibleError, match="fewer than two positions for images of 2x2"
    ) as caught:
        activation_map(one, PICTURES)
    assert "image_size 4" in caught.value.hint
    assert activation_map(one, PICTURES, image_size=4).maps.shape == (3, 2, 2)


@pytest.mark.parametrize("name", networks(ours(), fast=(), ci=FEW))
def test_maps_of_a_network_have_the_logits_as_means(name):
    side = 256 if name.startswith("vgg") else 64
    one = network(name, preprocessing=Preprocessing(input_size=(3, side, side)))
    found = activation_map(one, PICTURES[:2])
    logits = logits_of(one, rezoo.preprocess(one, PICTURES[:2]))
    close(found.logits, logits)
    close(found.maps.mean(axis=(1, 2)), logits.max(axis=1))
    assert found.maps.shape[1] > 1
    assert found.maps.std(axis=(1, 2)).min() > 0


@pytest.mark.ci
def test_vgg_has_no_maps_at_its_own_size_and_below():
    vgg = start_from_zeros(lambda: rezoo.create_model("vgg16", num_classes=2))
    for size in (None, 64):
        with pytest.raises(IncompatibleError, match="map of vgg16 has fewer than two") as caught:
            activation_map(vgg, PICTURES[0], image_size=size)
        assert f"image_size {256 if size else 448} " in caught.value.hint


def test_logits_that_are_not_finite_are_an_error():
    broken = network()
    broken.get_layer("fc").bias.assign([np.nan, 0, 0])
    with pytest.raises(DivergedError, match="logits are not finite"):
        activation_map(broken, PICTURES[0])


# pictures


def test_an_overlay_is_grey_where_the_map_is_not_positive_and_coloured_at_its_maximum():
    pixels = np.asarray(picture(1, (60, 40)))
    values = np.array([[-3.0, -2.0, -1.0], [-1.0, -2.0, 5.0]])
    found = overlay(pixels, values)
    grey = np.asarray(Image.fromarray(pixels).convert("L"))
    assert (found.shape, found.dtype) == ((40, 60, 3), np.uint8)
    np.testing.assert_array_equal(found[:15, :15], grey[:15, :15, None].repeat(3, axis=2))
    red, _, blue = found[30, 50].astype(int)
    assert red > 190
    assert blue < 100
    nothing = overlay(pixels, np.full((2, 3), -1.0))
    np.testing.assert_array_equal(nothing, grey[..., None].repeat(3, axis=2))
    np.testing.assert_array_equal(overlay(pixels, np.zeros((2, 3))), nothing)
    assert overlay(pixels[..., :1], values).shape == (40, 60, 3)
    assert enlarged(values, (40, 60)).shape == (40, 60)


def test_maps_lay_over_the_crop_that_the_network_sees(model):
    found = activation_map(model, PICTURES[0])
    drawn = found.overlay(0)
    assert drawn.size == (32, 24)
    np.testing.assert_array_equal(np.asarray(drawn), overlay(found.pixels[0], found.maps[0]))


def test_pictures_keep_the_names_of_their_images(tmp_path):
    names = ["a b.jpg", 'it\'s "x".jpg', "two\nlines.jpg", "قطة.jpg", "🐈.jpg", f"{'é' * 125}.jpg"]
    paths = picture_paths(names, tmp_path / "maps", ["photos"], overwrite=False)
    assert [path.name for path in paths] == [f"{name[:-4]}.png" for name in names]
    assert not (tmp_path / "maps").exists()


def test_images_of_one_name_have_numbered_pictures(tmp_path):
    images = [
        "a/x.jpg",
        "b/x.jpg",
        "b/X.png",
        "c/x-2.jpg",
        f"a/{'é' * 125}.jpg",
        f"b/{'é' * 125}.jpg",
    ]
    paths = picture_paths(images, tmp_path, [], overwrite=False)
    assert [p.name for p in paths[:4]] == ["x.png", "x-2.png", "X-3.png", "x-2-2.png"]
    assert paths[5].name == f"{'é' * 124}-2.png"
    many = picture_paths([f"{i}/x.jpg" for i in range(1000)], tmp_path, [], overwrite=False)
    assert len(set(many)) == 1000


def test_files_of_the_user_are_not_replaced(tmp_path):
    images, maps = tmp_path / "photos", tmp_path / "maps"
    for folder in (images, maps):
        folder.mkdir()
        (folder / "a.png").write_bytes(b"mine")
    image = str(images / "a.png")
    for place, fragment in (
        (maps, "has 'a.png' already"),
        (images, "is a folder of the images"),
        (images / "below", "is a folder of the images"),
        (maps / "a.png", "is a file"),
    ):
        with pytest.raises(SpecError) as caught:
            picture_paths([image], place, [str(images)], overwrite=False)
        assert fragment in str(caught.value)
        assert "--output" not in caught.value.hint
    assert picture_paths([image], maps, [str(images)], overwrite=True) == [maps / "a.png"]
    with pytest.raises(SpecError, match="is a folder of the images"):
        picture_paths([image], images, [image], overwrite=True)
    (maps / "b.png").mkdir()
    with pytest.raises(SpecError, match=r"has 'b\.png' already"):
        picture_paths(["b.jpg"], maps, [], overwrite=True)


# the command


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    place = tmp_path_factory.mktemp("network") / "run"
    place.mkdir()
    save_model(model, model.rezoo_config, place)
    return place


def test_predict_draws_a_picture_for_each_image(folder, call, tmp_path, model):
    photos = tmp_path / "photos"
    (photos / "more").mkdir(parents=True)
    for name in ("a.jpg", "more/a.jpg", "x\ny.jpg"):
        (photos / name).write_bytes(encoded(PICTURES[1], "PNG"))
    (photos / "broken.jpg").write_bytes(b"no")
    answer = call("predict", folder, photos, "--explain", tmp_path / "maps", "--json")
    assert answer.rc == 5
    rows = json.loads(answer.out)
    assert [row["path"].rpartition("/")[2] for row in rows] == [
        "a.jpg",
        "broken.jpg",
        "a.jpg",
        "x\ny.jpg",
    ]
    assert "explanation" not in rows[1]
    drawn = [row["explanation"] for row in rows if "explanation" in row]
    assert [d["picture"].rpartition("/")[2] for d in drawn] == ["a.png", "a-2.png", "x\ny.png"]
    for one, row in zip(drawn, [rows[0], *rows[2:]], strict=True):
        best = row["predictions"][0]
        assert one["label"] == best["label"]
        assert one["probability"] == pytest.approx(best["probability"])
        with Image.open(one["picture"]) as image:
            assert image.format == "PNG"
            assert image.width > 512
    crop = np.asarray(Image.open(drawn[0]["picture"]))[50:100, 30:200]
    assert np.ptp(crop.astype(int), axis=2).max() > 20  # in colour: the crop is on the left
    again = call("predict", folder, photos, "--explain", tmp_path / "maps")
    fails(again, 2, "has 'a.png', ", " already", "--overwrite")
    named = call(
        "predict", folder, photos / "a.jpg", "--explain", tmp_path / "maps", "--class", "COW",
        "--overwrite",
    )  # fmt: skip
    assert (named.rc, "1 picture of activation maps" in named.out) == (0, True)


def test_options_of_predict_that_do_not_go_together_are_refused(folder, call, tmp_path):
    photo = tmp_path / "a.jpg"
    photo.write_bytes(encoded(PICTURES[0]))
    run = ("predict", folder, photo)
    fails(call(*run, "--class", "dog"), 2, "--class has no effect without --explain")
    fails(call(*run, "--overwrite"), 2, "--overwrite has no effect without --explain")
    for several in (("--hosts", "here:1,2,0"), ("--devices", "2")):
        answer = call(*run, "--explain", "maps", *several)
        fails(answer, 2, "--explain computes on one device", "leave --devices and --hosts out")
    unknown = call(*run, "--explain", tmp_path / "maps", "--class", "dgo")
    fails(unknown, 2, "the network has no class 'dgo'", "Did you mean dog?")
    assert not (tmp_path / "maps").exists()


def test_predict_explains_why_a_run_has_no_maps(trained, call, tmp_path):
    photo = tmp_path / "a.png"
    photo.write_bytes(encoded(picture(0, (8, 8), grey=True), "PNG"))
    answer = call("predict", trained, photo, "--explain", tmp_path / "maps")
    fails(answer, 6, "has fewer than two positions for images of 8x8 pixels", "--image-size 64")
