"""int8: images that choose layers judge nothing, and few images prove nothing."""

import json
import os
import shutil
import warnings

import numpy as np
import pytest

import rezoo
from rezoo.cli.export import print_passport
from rezoo.errors import DataWarning, IncompatibleError, IntegrityError, SpecError
from rezoo.exporters.comparing import compare
from rezoo.exporters.export import export
from rezoo.exporters.formats import FORMATS
from rezoo.exporters.runner import Runner
from rezoo.exporters.samples import Samples, calibration_samples, comparison_samples, halves
from rezoo.sources.references import resolve
from rezoo.specs import Preprocessing
from test_exports import weights

needs_onnx = pytest.mark.skipif(bool(FORMATS["onnx"].missing), reason=FORMATS["onnx"].install)
SMALL = Preprocessing(input_size=(3, 16, 16))


def contents(pictures):
    return {picture.tobytes() for picture in pictures}


@pytest.fixture(scope="module")
def two_classes(tmp_path_factory):
    """Weights of a network with the classes a and b."""
    folder = weights(tmp_path_factory.mktemp("weights") / "ab", size=16, classes=2)
    config = json.loads((folder / "config.json").read_text())
    config["label_names"] = ["a", "b"]
    (folder / "config.json").write_text(json.dumps(config))
    return resolve(str(folder))


def test_halves_are_disjoint_and_decided_by_the_keys(trained):
    source = resolve(str(trained))
    preprocessing = source.config.preprocessing
    choosing, judged = halves(source, "digits", preprocessing, count=101)
    assert choosing.what == "51 of 101 images of digits (test)"
    assert judged.what == "50 of 101 images of digits (test)"
    assert not contents(choosing.pictures) & contents(judged.pictures)
    together = comparison_samples(source, "digits", preprocessing, count=101)
    both = contents(choosing.pictures) | contents(judged.pictures)
    assert contents(together.pictures[-101:]) == both
    assert len(choosing.labels) == 51
    again, _ = halves(source, "digits", preprocessing, count=101)
    np.testing.assert_array_equal(again.inputs, choosing.inputs)
    # not every second image: neighbours are alike in many datasets
    assert contents(choosing.pictures) != contents(together.pictures[-101::2])


def test_the_reference_batch_is_divided_if_there_is_no_dataset(trained):
    source = resolve(str(trained))
    choosing, judged = halves(source, None, source.config.preprocessing, count=9)
    assert len(choosing.pictures) == len(judged.pictures) == 2
    assert judged.what.startswith("2 of the reference batch")


def test_one_image_cannot_be_divided(trained):
    source = resolve(str(trained))
    with pytest.raises(SpecError, match=r"two images .* not 1 images of digits"):
        halves(source, "digits", source.config.preprocessing, count=1)


@pytest.mark.ci
def test_calibration_leaves_out_the_images_of_the_comparison(two_classes, photographs):
    root = photographs({"train/a": 6, "train/b": 6, "test/a": 2}, ending=".png")
    for i in range(2):  # the same photographs under other names
        (root / "test" / "b").mkdir(exist_ok=True)
        same = (root / "train" / "b" / f"{i:03d}.png").read_bytes()
        (root / "test" / "b" / f"copy{i}.png").write_bytes(same)
    compared = halves(two_classes, f"folder:{root}", SMALL, count=100)
    found, what = calibration_samples(f"folder:{root}", SMALL, count=100, without=compared)
    compared_inputs = contents(np.concatenate([half.inputs for half in compared]))
    assert not contents(found) & compared_inputs
    everything, _ = calibration_samples(f"folder:{root}", SMALL, count=100)
    assert len(contents(everything) & compared_inputs) == 2
    assert len(found) == len(everything) - 2
    assert what == f"{len(found)} images of folder:{root} (train)"


@pytest.mark.ci
def test_calibration_uses_the_choosing_half_if_there_are_no_other_images(two_classes, photographs):
    root = photographs({"test/a": 4, "test/b": 4}, ending=".png")
    shutil.copytree(root / "test", root / "train")
    choosing, judged = halves(two_classes, f"folder:{root}", SMALL, count=100)
    found, _ = calibration_samples(f"folder:{root}", SMALL, count=9, without=(choosing, judged))
    assert len(found) > 0
    assert contents(found) <= contents(choosing.inputs)


@pytest.mark.ci
def test_classes_are_matched_as_eval_matches_them(two_classes, photographs):
    other = photographs({"test/A": 1, "test/b": 1}, ending=".png")
    samples = comparison_samples(two_classes, f"folder:{other}", SMALL, count=9)
    assert samples.labels.tolist() == [0, 1]
    assert "'A' = 'a'" in samples.notes[0]
    other = photographs({"test/dog": 1}, root=other)
    with pytest.raises(IncompatibleError, match=r"1 of the dataset's 3 classes .*'dog'"):
        comparison_samples(two_classes, f"folder:{other}", SMALL, count=9)


@pytest.fixture
def damaged(photographs):
    """A folder in which one of 120 images was damaged after it was checked."""
    root = photographs({"train/a": 60, "train/b": 60, "test/a": 60, "test/b": 60}, ending=".png")
    rezoo.load_dataset(f"folder:{root}")  # keeps what it found until a file's time changes
    return root


def damage(path):
    """Overwrite the pixels of a PNG; its size and time stay."""
    times, content = path.stat(), path.read_bytes()
    path.write_bytes(content[:100] + bytes(len(content) - 100))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


@pytest.mark.ci
def test_unreadable_images_are_named_and_counted(two_classes, damaged):
    damage(damaged / "test" / "b" / "007.png")
    with pytest.warns(DataWarning, match=r"1 of 120 images .*007\.png.* left out"):
        samples = comparison_samples(two_classes, f"folder:{damaged}", SMALL, count=200)
    assert samples.labels.tolist() == 60 * [0] + 59 * [1]
    assert f"119 images of folder:{damaged} (test)" in samples.what
    note = f"1 of 120 images of folder:{damaged} (test) cannot be decoded"
    assert note in samples.notes
    damage(damaged / "train" / "a" / "000.png")  # the first image of its class
    with pytest.warns(DataWarning, match=r"000\.png.* left out"):
        found, what = calibration_samples(f"folder:{damaged}", SMALL, count=20)
    assert len(found) == 19
    assert what == f"19 images of folder:{damaged} (train); 1 more cannot be decoded"


@pytest.mark.ci
def test_too_many_unreadable_images_are_an_error(two_classes, damaged):
    for i in range(2):
        damage(damaged / "test" / "b" / f"00{i}.png")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        with pytest.raises(IntegrityError, match="2 of 120 images"):
            comparison_samples(two_classes, f"folder:{damaged}", SMALL, count=200)


def run_of(outputs, quantization="int8"):
    """An int8 network of 1 feature that has these outputs for the inputs 0, 1, 2, …"""
    metadata = {"input": "tensor", "quantization": quantization}
    return Runner(
        format="onnx", runtime="table", threads=1, metadata=metadata,
        call=lambda images: outputs[images[:, 0, 0, 0].astype(int)],
    )  # fmt: skip


def table(predictions):
    """Samples and the outputs of a network of two classes that predicts these."""
    inputs = np.arange(len(predictions), dtype=np.float32).reshape(-1, 1, 1, 1)
    outputs = np.eye(2, dtype=np.float32)[predictions]
    samples = Samples(pictures=[], inputs=inputs, labels=np.asarray(predictions), what="a table")
    return samples, outputs


@pytest.mark.parametrize(("count", "proven"), [(50, False), (300, False), (1000, True)])
def test_no_drop_on_few_images_is_no_proof(count, proven):
    samples, wanted = table(np.arange(count) % 2)
    found = compare(run_of(wanted), samples, wanted)
    assert found.accuracy.drop == 0.0
    low, high = found.accuracy.drop_interval
    assert low < 0 < high
    assert found.holds
    assert found.proven is proven
    wide = f"the interval is wide: {count} images leave a drop of up to {100 * high:.1f} points"
    assert any(wide in note for note in found.notes) is not proven


def test_an_interval_contains_the_true_drop_as_often_as_it_says():
    random = np.random.default_rng(0)
    inside = []
    for _ in range(300):
        samples, wanted = table(np.zeros(200, int))
        lost = random.random(200) < 0.03
        samples.labels[random.random(200) < 0.2] = 1  # the source is wrong there
        flipped = wanted.copy()
        flipped[lost] = flipped[lost][:, ::-1]
        drop = 0.03 * (0.8 - 0.2)
        low, high = compare(run_of(flipped), samples, wanted).accuracy.drop_interval
        inside.append(low <= drop <= high)
    assert np.mean(inside) >= 0.94


@pytest.mark.ci
@needs_onnx
def test_an_int8_export_is_judged_by_images_that_chose_nothing(trained, tmp_path, capsys):
    passport = export(
        str(trained), "onnx", output=str(tmp_path / "out"), quantize="int8", dataset="digits",
        images=40, calibration_images=30, measure=False,
    )  # fmt: skip
    written = json.loads((tmp_path / "out" / "passport.json").read_text())
    assert written["comparison"]["count"] == written["choice"]["count"] == 20
    assert written["comparison"]["accuracy"]["count"] == 20
    assert written["comparison"]["what"] == "20 of 40 images of digits (test)"
    assert written["calibration"] == {"what": "30 images of digits (train)", "count": 30}
    assert "largest errors" in written["choice"]["rule"]
    assert written["choice"]["attempts"][0]["kept_in_float32"] == []
    assert written["comparison"]["proven"] is False
    print_passport(passport)
    shown = " ".join(capsys.readouterr().out.split())
    for text in (
        "compared on 20 of 40 images of digits (test)",
        "calibrated on 30 images of digits (train)",
        "layers chosen on 20 other images",
        "Kept, but not proven",
        "Note: the interval is wide: 20 images",
    ):
        assert text in shown
    assert "10 classes matched by names to 10" in passport.comparison.notes
