"""A person's own photos: five classes, folders without a split, predicting and evaluating."""

import csv
import errno
import json
import os
import re
import sys
from pathlib import Path

import best
import bottleneck
import evaluate
import finetune
import h5py
import numpy as np
import predict
import pytest
import scratch
import small
from common import answers, cli, division, files, folders, images, kernel, networks, parsers
from common import plots, records, tables, vgg16
from common.cli import InputError
from conftest import SMALL, full_disk
from PIL import Image, ImageDraw

SHAPES = {
    "circle": lambda draw, box: draw.ellipse(box, fill="white"),
    "cross stitch": lambda draw, box: [
        draw.line(box, fill="white", width=6),
        draw.line((box[0], box[3], box[2], box[1]), fill="white", width=6),
    ],
    "square": lambda draw, box: draw.rectangle(box, fill="white"),
    "stripes": lambda draw, box: [
        draw.rectangle((box[0], y, box[2], y + 3), fill="white") for y in range(box[1], box[3], 8)
    ],
    "éclair": lambda draw, box: draw.line(
        (box[0], box[1], box[2], box[1] + 10, box[0], box[3] - 10, box[2], box[3]),
        fill="white",
        width=4,
    ),
}
EXPERIMENTS = (scratch, bottleneck, finetune, best)


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    """A folder with five classes and no split; 10 pictures of each, of the circle 15."""
    folder = tmp_path_factory.mktemp("own") / "my shapes"
    random = np.random.default_rng(0)
    for name, shape in SHAPES.items():
        (folder / name).mkdir(parents=True)
        for number in range(15 if name == "circle" else 10):
            picture = Image.new("RGB", (64, 60), tuple(random.integers(0, 150, 3).tolist()))
            left, top = random.integers(2, 16, 2).tolist()
            shape(ImageDraw.Draw(picture), (left, top, left + 44, top + 40))
            picture.save(folder / name / f"{name} {number}.jpg", quality=95)
    return folder


@pytest.fixture(scope="module")
def trained(shapes, tmp_path_factory):
    """The folder of weights with all four models of the shapes."""
    folder = tmp_path_factory.mktemp("trained")
    for script in EXPERIMENTS:
        options = ["--data", shapes, "--weights", folder, "--precision", "float32"]
        options += [] if script is best else ["--epochs", 2]
        options += [] if script is scratch else ["--vgg16-weights", "random"]
        small.start(script, options)
    return folder


@pytest.fixture(scope="module")
def runs(trained):
    """The models' records by experiment."""
    return {record["experiment"]: record for record in records.read(trained / "runs.jsonl")}


@pytest.fixture
def start(capsys, monkeypatch):
    """Run predict.py or evaluate.py; its exit status, output and errors."""

    def run(script, *options):
        monkeypatch.setattr(sys, "argv", [f"{script.__name__}.py", *map(str, options)])
        capsys.readouterr()
        status = 0
        try:
            cli.run(lambda: small.start(script))
        except SystemExit as stop:
            status = stop.code
        return status, *capsys.readouterr()

    return run


def test_five_classes_go_through_all_experiments(trained, runs):
    assert list(runs) == ["scratch", "bottleneck", "finetune", "best"]
    for record in runs.values():
        assert list(record["class_indices"]) == sorted(SHAPES)
        assert record["data"]["train"]["photos"] == 12 + 4 * 8
        assert record["data"]["validation"]["photos"] == 3 + 4 * 2
        probabilities = np.array(record["val_probabilities"])
        assert probabilities.shape == (11, 5)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-4)
        labels = np.repeat(np.arange(5), [3, 2, 2, 2, 2])
        assert np.mean(probabilities.argmax(axis=1) == labels) == pytest.approx(
            record["val_accuracy"]
        )
        assert record["majority_accuracy"] == pytest.approx(3 / 11)
        assert record["validation_photos"]["circle"] == 3
    assert runs["best"]["val_accuracy"] > 0.5  # chance is a fifth
    for name in parsers.MODELS.values():
        with h5py.File(trained / name) as file:
            layers = json.loads(file["about/architecture"][()])["config"]["layers"]
        assert "softmax" in json.dumps(layers[-1])


def assert_predicted_as_recorded(path, photos, record, expected):
    """predict.py gives the probabilities that the training found for the validation photos."""
    model, about = networks.load(path, "random")
    assert about["run"] == record["run"]
    found = [answer for _, answer, _ in networks.predict(model, about, photos)]
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("script", EXPERIMENTS)
def test_five_classes_are_predicted_as_in_the_training(trained, runs, script):
    record, photos = runs[script.__name__], predict.find_photos([trained / "split/validation"])
    path = trained / parsers.MODELS[script.__name__]
    assert_predicted_as_recorded(path, photos, record, record["val_probabilities"])


def test_two_classes_are_predicted_as_in_the_training(workplace):
    photos = predict.find_photos([workplace.data / "validation"])
    for script in scratch, bottleneck, finetune:
        record = workplace.run(script, "--epochs", 1)
        p = np.array(record["val_probabilities"])
        path = workplace.weights / parsers.MODELS[script.__name__]
        assert_predicted_as_recorded(path, photos, record, np.column_stack([1 - p, p]))
        assert "majority_accuracy" not in record


def test_predict_prints_path_class_and_probability(trained, shapes, start, tmp_path):
    photos = sorted((shapes / "circle").iterdir())[:3]
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(photos[0].read_bytes()[:400])
    table = tmp_path / "new" / "table.csv"
    options = ("--weights", trained, "--top", 2, "--csv", table, photos[0], broken, *photos[1:])
    status, out, err = start(predict, *options)
    assert status == 1
    assert f"{broken}: can't be read (" in err and "1 of 4 photos could not be read" in err
    lines = [line.split("\t") for line in out.splitlines()]
    assert [line[0] for line in lines] == [str(path) for path in photos]
    with open(table, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["path", "class", "probability"]
    assert [row["path"] for row in rows] == [str(path) for path in photos for _ in range(2)]
    model, about = networks.load(trained / "best.weights.h5")
    for (_, answer, _), line in zip(networks.predict(model, about, photos), lines, strict=True):
        first, second = np.argsort(-answer)[:2]
        names = sorted(SHAPES)
        assert line[1::2] == [names[first], names[second]]
        assert float(line[2]) == pytest.approx(answer[first], abs=1e-4)
    assert start(predict, "--weights", trained, *photos)[0] == 0


def test_evaluate_counts_correctly(trained, runs, start, tmp_path):
    record, sheet = runs["scratch"], tmp_path / "sheet.jpg"
    options = ("--model", trained / "first_try.weights.h5", "--sheet", sheet)
    status, out, _ = start(evaluate, *options, trained / "split/validation")
    assert status == 0
    interval = tables.interval(record["val_accuracy"], 11)
    assert f"Accuracy: {record['val_accuracy']:.4f} (95 %: {interval}" in out
    assert "always predicting the largest class: 0.2727" in out
    (told,) = [line for line in out.splitlines() if line.startswith("Log loss: ")]
    assert float(told.split()[-1]) == pytest.approx(record["history"]["val_loss"][-1], abs=1e-4)
    lines = [line for line in out.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    assert cells[0] == ["is \\ taken for", *sorted(SHAPES), "recall", "95 %"]
    taken = np.array(record["val_probabilities"]).argmax(axis=1)
    expected = np.bincount(taken[:3], minlength=5)
    recall = expected[0] / 3
    shown = [f"{recall:.3f}", tables.interval(recall, 3)]
    assert cells[2] == ["circle", *map(str, expected), *shown]
    wrong = round(11 * (1 - record["val_accuracy"]))
    assert f"Mistakes: {wrong}" in out
    with Image.open(sheet) as picture:
        assert picture.width > 500


def test_evaluate_shows_small_pictures_and_no_old_ones(trained, tmp_path, monkeypatch, start):
    (tmp_path / "photos/circle").mkdir(parents=True)
    large = Image.new("I;16", (2000, 1500), 150 * 256)
    large.save(tmp_path / "photos/circle/large.png")
    shown, sheet = [], tmp_path / "sheet.png"
    plots.sheet([(large, "of another time")], sheet)
    monkeypatch.setattr(plots, "sheet", lambda pictures, path: shown.extend(pictures))
    options = ("--weights", trained, "--sheet", sheet, tmp_path / "photos")
    monkeypatch.setattr(
        networks, "predict", lambda m, r, photos: ((p, np.eye(5)[answer], None) for p in photos)
    )
    answer = 1  # not the circle
    assert start(evaluate, *options)[0] == 0
    ((picture, caption),) = shown
    assert picture.shape == (225, 300, 3) and (picture == 150).all()  # grey, not white
    assert caption == "large.png\nis circle, taken for cross stitch (1.00)"
    answer = 0
    status, out, _ = start(evaluate, *options)
    assert status == 0 and "Mistakes: 0" in out and not sheet.exists()


def test_evaluate_warns_about_training_photos(trained, shapes, start, monkeypatch, tmp_path):
    """Also about one that was scaled and encoded again elsewhere."""
    monkeypatch.chdir(trained)
    photos = sorted(Path("split/train").rglob("*.jpg"))
    other = tmp_path / "other" / photos[0].parent.name / "other.jpg"
    other.parent.mkdir(parents=True)
    with Image.open(photos[0]) as picture:
        picture.convert("RGB").resize((333, 222)).save(other, quality=80)
    found = (shapes, len(photos)), ("split/train", len(photos)), (tmp_path / "other", 1)
    for folder, count in (*found, ("split/validation", 0)):
        _, _, err = start(evaluate, "--weights", trained, folder)
        assert (f"result, {count} of these" in err) == bool(count) == ("warning: pictures" in err)
    assert (
        f"other.jpg = {trained}/{photos[0]}"
        in start(evaluate, "--weights", trained, other.parents[1])[2]
    )


def test_training_photos_are_known_without_a_fingerprint_and_through_links(tmp_path, capsys):
    """Plain pictures are known by their files; class folders may be links; or there is nothing."""
    weights, there = tmp_path / "weights", tmp_path / "there"
    weights.mkdir()
    for kind in "a", "b":
        (there / kind).mkdir(parents=True)
        Image.new("RGB", (60, 60), "grey").save(there / kind / f"{kind}.jpg")
        for part in "train", "validation":
            (tmp_path / "data" / part).mkdir(parents=True, exist_ok=True)
            (tmp_path / "data" / part / kind).symlink_to(there / kind)
    photos = files.photos_of_classes(there)
    evaluate.warn_of_training_photos(photos, weights)
    assert capsys.readouterr().err == ""
    (weights / "any.h5").touch()
    (weights / folders.NOTE).write_text(str(tmp_path / "data"))
    stale = weights / "split" / "train" / "a"  # from when there was no validation/
    stale.mkdir(parents=True)
    evaluate.warn_of_training_photos(photos, weights)
    assert (
        "warning: pictures that the model was trained on inflate the result, 2 of these 2: "
        in capsys.readouterr().err
    )
    assert kernel.preprocessing(tmp_path / "data" / "train")["upright"]


@pytest.mark.parametrize("script, option", [(predict, "--csv"), (evaluate, "--sheet")])
def test_outputs_are_whole_or_absent(trained, shapes, script, option, start, tmp_path):
    path = tmp_path / ("table.csv" if script is predict else "sheet.jpg")
    if script is predict:
        path.write_text("old")
    else:
        plots.sheet([(Image.new("RGB", (9, 9)), "old")], path)
    old = path.read_bytes()
    options = ("--model", trained / "first_try.weights.h5", option, path, shapes)
    with full_disk(100):
        status, _, err = start(script, *options)
    assert status == 2 and f"{path}: can't be written (File too large)" in err
    assert path.read_bytes() == old and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("script", "option", "path", "message"),
    [
        (predict, "--csv", ".", "is a folder"),
        (evaluate, "--sheet", ".", "is a folder"),
        (evaluate, "--sheet", "a.foo", "a.foo: the sheet must be a .jpg or .png"),
    ],
)
def test_outputs_are_checked_before_the_photos(
    trained, shapes, script, option, path, message, start, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(networks, "predict", None)
    options = ("--weights", trained, option, path, shapes)
    status, _, err = start(script, *options)
    assert status == 2 and len(err.splitlines()) == 1 and message in err


def test_evaluate_refuses_other_classes(trained, drawings, start):
    for photos, message in {
        drawings / "validation": "circle, cross stitch, square, stripes, éclair; found cats, dogs",
        trained / "split/validation/circle": "circle, cross stitch, square, stripes, éclair",
        trained / "gone": "gone: no such folder",
    }.items():
        status, _, err = start(evaluate, "--weights", trained, photos)
        assert status == 2 and len(err.splitlines()) == 1
        assert message in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["gone.jpg"], "gone.jpg: no such photo or folder"),
        (["w"], "w: no photos (.png, .jpg"),
        (["--model", "gone.h5", "a.jpg"], "gone.h5: no such file"),
        (["--model", "a.jpg", "a.jpg"], "a.jpg: not a model of this repository"),
        (["--weights", "w", "a.jpg"], "w: no model there yet"),
        (["--model", "half.weights.h5", "a.jpg"], "half.weights.h5: not a whole model"),
    ],
)
def test_predict_refuses(trained, options, message, start, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w").mkdir()
    with h5py.File(tmp_path / "half.weights.h5", "w") as half:
        half["about/record"] = "{}"
    (tmp_path / "a.jpg").write_text("no photo")
    if "--model" not in options and "--weights" not in options:
        options = ["--weights", str(trained), *options]
    status, out, err = start(predict, *options)
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert message in err


@pytest.mark.parametrize(
    "change", [{"experiment": None}, {"preprocessing": {}}, {"class_indices": {"a": 0, "b": 1}}]
)
def test_models_with_an_incomplete_record_are_refused(trained, change, tmp_path):
    path = tmp_path / "changed.weights.h5"
    path.write_bytes((trained / "first_try.weights.h5").read_bytes())
    with h5py.File(path, "r+") as file:
        record = json.loads(file["about/record"][()]) | change
        kept = {name: value for name, value in record.items() if value is not None}
        file["about/record"][()] = json.dumps(kept)
    with pytest.raises(InputError, match=r"changed\.weights\.h5: not a whole model"):
        networks.load(path)


def test_the_classifier_of_other_vgg16_weights_is_refused(trained, monkeypatch):
    monkeypatch.setattr(vgg16, "digest", lambda base: "another")
    with pytest.raises(InputError, match="other VGG16 weights"):
        networks.load(trained / "bottleneck_fc_model.weights.h5", "random")


def test_a_split_is_stratified_and_stays_and_copies_nothing(shapes, tmp_path):
    folder = tmp_path / "split"
    division.split_photos(shapes, folder)
    photos = [path for path in folder.rglob("*") if path.is_symlink()]
    assert len(photos) == 55
    assert {path.resolve() for path in photos} == set(shapes.glob("*/*.jpg"))
    for split, counts in ("validation", [3, 2, 2, 2, 2]), ("train", [12, 8, 8, 8, 8]):
        generator = images.in_order_generator(folder / split, SMALL, 4)
        assert np.bincount(generator.classes).tolist() == counts
    made = folder.stat().st_ino
    division.split_photos(shapes, folder)
    assert folder.stat().st_ino == made
    other = tmp_path / "other split"
    division.split_photos(shapes, other)
    names = [{p.relative_to(f) for p in f.rglob("*.jpg")} for f in (folder, other)]
    assert names[0] == names[1]


def test_adding_photos_leaves_the_others_on_their_side(tmp_path):
    for name in "ab":
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(50):
            (tmp_path / "data" / name / f"{number}.png").write_bytes(b"")

    def tested():
        division.split_photos(tmp_path / "data", tmp_path / "split")
        return {path.name for path in (tmp_path / "split/validation/a").iterdir()}

    before = tested()
    (tmp_path / "data/a/new.png").write_bytes(b"")
    assert len(tested() ^ before) <= 2
    (tmp_path / "data/a/new.png").unlink()
    assert tested() == before


def test_a_broken_photo_is_named_and_not_the_link_to_it(tmp_path):
    for name in "a", "b":
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(2):
            noise = np.random.default_rng(number).integers(0, 255, (40, 40, 3), np.uint8)
            Image.fromarray(noise).save(tmp_path / f"data/{name}/{number}.png")
    broken = tmp_path / "data/b/1.png"
    broken.write_bytes(broken.read_bytes()[:40])
    division.split_photos(tmp_path / "data", tmp_path / "split")
    with pytest.raises(InputError, match=f"{re.escape(str(broken))}: can't be read"):
        for split in "train", "validation":
            images.in_order_generator(tmp_path / "split" / split, SMALL, 4).digests()


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a/1.jpg", "a/2.jpg", "b/1.jpg"], "data/b: one photo; a class needs"),
        (["a/1.jpg", "a/2.jpg"], "at least two classes.* found a"),
        (["a/1.jpg", "a/2.jpg", "b/notes.txt"], "data/b: no photos; a class needs"),
        (["one/a/1.jpg", "one/b/1.jpg", "two/a/1.jpg", "two/b/1.jpg"], "one: no photos, only the"),
        (["train/a/1.jpg", "train/b/1.jpg", "val/a/1.jpg"], "data/val: the experiments need at"),
        (["readme.txt"], "at least two classes.* found none"),
    ],
)
def test_folders_that_are_not_data_sets(names, message, tmp_path):
    for name in names:
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (5, 5)).save(path) if name.endswith("jpg") else path.write_text("x")
    with pytest.raises(InputError, match=message):
        photos, _ = folders.photos_and_weights(tmp_path / "data", tmp_path / "weights")
        for split in "train", "validation":
            images.in_order_generator(photos / split, SMALL, 4)


def fill(folder, *classes, photos=3):
    """Class folders with a few photos each, all of them different."""
    for name in classes:
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(photos):
            noise = np.random.default_rng([number, *map(ord, name)]).integers(0, 255, (9, 9, 3))
            Image.fromarray(noise.astype(np.uint8)).save(folder / name / f"{number}.png")


@pytest.mark.parametrize(
    ("classes", "train", "validation", "unused"),
    [
        # of known archives: cats and dogs, chest X-rays, scenes, fruits
        (("training_set/training_set/*", "test_set/test_set/*"), 0, 1, ""),
        (("Train/*", "Val/*", "Test/*"), 0, 1, "Test"),
        (("archive/x/train/*", "archive/x/val/*", "archive/x/test/*"), 0, 1, "test"),
        (("seg_train/seg_train/*", "seg_test/seg_test/*", "seg_pred/seg_pred"), 0, 1, "seg_pred"),
        (("Training/*", "Test/*", "test-multiple_fruits", "papers"), 0, 1, "papers, test-multip"),
        (("train/*", "valid/*"), 0, 1, ""),
        (("trainImages/*", "testImages/*"), 0, 1, ""),
        (("TRAIN SET/*", "DEV SET/*", "TEST SET/*"), 0, 1, "TEST SET"),
        (("train/*", "test"), 0, None, "test"),  # without classes, to be sent in
        (("train/*", "validate/*"), 0, 1, ""),
        (("training/*", "Development/*", "evaluation/*"), 0, 1, "evaluation"),
        (("train/*", "test/unknown"), 0, None, "test"),
        (("train/*",), 0, None, ""),
        (("PetImages/*",), 0, None, ""),
    ],
)
def test_parts_of_a_division_by_any_usual_name(
    classes, train, validation, unused, tmp_path, capsys
):
    data, weights = tmp_path / "data", tmp_path / "weights"
    names = [[n.replace("*", c) for c in (("a", "b") if "*" in n else " ")] for n in classes]
    for each in names:
        fill(data, *each)
    photos, _ = folders.photos_and_weights(data, weights)
    generators = [
        images.in_order_generator(photos / split, SMALL, 4) for split in ("train", "validation")
    ]
    for generator in generators:
        assert list(generator.class_indices) == ["a", "b"]
    found = [{os.path.realpath(p) for p in generator.filepaths} for generator in generators]
    of = [{str(p) for name in each for p in (data / name).glob("*.png")} for each in names]
    assert found == [of[train], of[validation]] if validation else found[0] | found[1] == of[train]
    told = capsys.readouterr().out
    assert (f"not used: {unused}" in told) if unused else ("not used" not in told)
    assert folders.photos_and_weights(data, weights)[0] == photos  # again


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (("train", "test"), "test, train have no class folders; put each class's photos"),
        (("train/a", "train/b", "val/a", "val/b", "valid/a"), "more than one division"),
        (("train/a", "test/a", "seg_train/a", "seg_test/a"), "more than one division"),
        (("fold1/a", "fold1/b", "c"), "fold1: no photos, only the folders a, b; if these are"),
        (
            ("images/train/a", "images/val/a", "labels/train/a"),
            "images: no photos, only the folders train, val; give --data",
        ),
        (("train/x/a", "train/x/b", "train/y/a", "train/y/b", "val/x/a"), "x: no photos, only"),
    ],
)
def test_folders_that_may_be_no_classes_are_refused(classes, message, tmp_path):
    fill(tmp_path / "data", *classes)
    with pytest.raises(InputError, match=message):
        folders.photos_and_weights(tmp_path / "data", tmp_path / "weights")
    assert not (tmp_path / "weights").exists()


def test_of_an_undivided_folder_the_persons_own_files_are_named(tmp_path):
    fill(tmp_path / "data", "a", "b")
    for name, target in (("gone", "nowhere.png"), ("self", "self.png")):
        (tmp_path / f"data/a/{name}.png").symlink_to(target)
        division.split_photos(tmp_path / "data", tmp_path / "split")
        with pytest.raises(InputError, match=re.escape(f"{tmp_path}/data/a/{name}.png: can't be")):
            images.describe(
                *(
                    images.in_order_generator(tmp_path / "split" / split, SMALL, 4)
                    for split in ("train", "validation")
                )
            )
        (tmp_path / f"data/a/{name}.png").unlink()
    with pytest.raises(InputError, match="data/a: can't be read; make it readable"):
        files.refuse_folders([tmp_path / "data/a"])


def test_evaluate_takes_a_class_folder_of_folders(tmp_path):
    fill(tmp_path / "photos", "cats/2020", "cats/2021")
    names = ["cats", "dogs"]
    assert len(evaluate.find_photos(tmp_path / "photos", names)) == 6
    assert len(evaluate.find_photos(tmp_path, names)) == 6  # inside


def test_names_in_another_form_of_unicode(tmp_path):
    """As macOS writes them: e and its accent are two characters."""
    composed, apart = "caf\u00e9", "cafe\u0301"
    fill(tmp_path / "photos", apart)
    assert [n for _, n in evaluate.find_photos(tmp_path / "photos", [composed, "tea"])] == [0] * 3
    fill(tmp_path / "data", composed, apart, "tea")
    photos, _ = folders.photos_and_weights(tmp_path / "data", tmp_path / "weights")
    with pytest.raises(InputError, match="same name but for its Unicode form"):
        images.in_order_generator(photos / "train", SMALL, 4)
    fill(tmp_path / "parts", f"train/{composed}", "train/tea", f"val/{apart}", "val/tea")
    photos, _ = folders.photos_and_weights(tmp_path / "parts", tmp_path / "other weights")
    generators = [
        images.in_order_generator(photos / split, SMALL, 4) for split in ("train", "validation")
    ]
    with pytest.raises(InputError, match=r"parts/val has .* in the same form of Unicode, too"):
        images.describe(*generators)


def test_files_and_loose_photos_are_told_from_folders(tmp_path, capsys):
    (tmp_path / "data.zip").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"data\.zip: is a file; unpack it"):
        folders.photos_and_weights(tmp_path / "data.zip", tmp_path / "weights")
    fill(tmp_path, "loose")
    with pytest.raises(InputError, match="found none and loose photos"):
        folders.photos_and_weights(tmp_path / "loose", tmp_path / "weights")
    fill(tmp_path / "loose", "a", "b")
    folders.photos_and_weights(tmp_path / "loose", tmp_path / "weights")
    assert "photos that are in no class folder are not used" in capsys.readouterr().out


def test_no_photo_is_replaced_by_an_output(trained, shapes, start, tmp_path):
    photo = tmp_path / "photo.jpg"
    Image.new("RGB", (50, 50)).save(photo)
    before = photo.read_bytes()
    options = ("--model", trained / "first_try.weights.h5")
    status, _, err = start(predict, *options, "--csv", photo, shapes)
    assert status == 2 and "the table would be taken for a photo" in err
    status, _, err = start(evaluate, *options, "--sheet", photo, shapes)
    assert status == 2 and "exists and is not such a sheet" in err
    assert photo.read_bytes() == before
    for ending in "jpg", "png":  # but a sheet is, by the next
        plots.sheet([(Image.new("RGB", (9, 9)), "\u732b")], tmp_path / f"sheet.{ending}")
        assert files.is_plotted(tmp_path / f"sheet.{ending}")


def test_an_empty_path_is_not_the_current_folder():
    """As an unset variable of a shell gives it."""
    with pytest.raises(SystemExit):
        predict.parse(["--model", "", "a.jpg"])


def test_classes_may_be_called_like_parts(tmp_path):
    fill(tmp_path / "data", "train", "bus", "test tube", "valley")
    photos, _ = folders.photos_and_weights(tmp_path / "data", tmp_path / "weights")
    classes = images.in_order_generator(photos / "train", SMALL, 4).class_indices
    assert list(classes) == ["bus", "test tube", "train", "valley"]


def test_outputs_among_the_photos_are_refused_and_leave_nothing(tmp_path):
    fill(tmp_path / "data", "a", "b")
    with pytest.raises(InputError, match="inside the photos' folder"):
        folders.photos_and_weights(tmp_path / "data", tmp_path / "data/weights")
    assert {path.name for path in (tmp_path / "data").iterdir()} == {"a", "b"}


def test_a_disk_without_links_is_named(tmp_path, monkeypatch):
    fill(tmp_path / "data", "a", "b")

    def refuse(*_):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    with pytest.raises(InputError, match=r"can't make links .* a folder on another disk"):
        folders.photos_and_weights(tmp_path / "data", tmp_path / "weights")
    (tmp_path / "vgg16.h5").touch()
    folders.remember_vgg16(tmp_path / "vgg16.h5", tmp_path / "weights")  # is only not remembered


def test_many_classes_have_a_row_each_and_what_they_are_taken_for():
    names = [f"class {number}" for number in range(12)]
    labels = np.repeat(np.arange(12), 4)
    taken = labels.copy()
    taken[[0, 1, 5]] = 3, 3, 2
    lines = answers.table(labels, taken, names).splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    assert cells[0] == ["class", "photos", "taken for", "recall", "95 %"] and len(cells) == 14
    assert cells[2] == ["class 0", "4", "class 3 2", "0.500", tables.interval(0.5, 4)]
    assert cells[3][:4] == ["class 1", "4", "class 2 1", "0.750"]
    assert cells[4][:4] == ["class 2", "4", "", "1.000"]


def test_best_tells_when_to_trust_it(workplace, capsys):
    record = workplace.run(best)
    told = capsys.readouterr().out
    (curve,) = [line for line in told.splitlines() if line.startswith("Accuracy with a quarter")]
    shares = [float(share) for share in re.findall(r"\d\.\d+", curve)]
    assert len(shares) == 3 and shares[-1] == pytest.approx(record["val_accuracy"], abs=5e-4)
    wrong = round((1 - record["val_accuracy"]) * 12)
    assert f"Mistakes: {wrong}" in told and "| is \\ taken for | cats " in told
    assert (workplace.weights / "mistakes.jpg").exists() == bool(wrong)


def test_each_data_set_has_its_own_outputs(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(folders, "WEIGHTS", tmp_path / "weights")
    monkeypatch.setattr(folders, "DATA", tmp_path / "data")
    for name in "data", "a/photos", "b/photos":
        for of_class in "train/a", "train/b", "validation/a", "validation/b":
            (tmp_path / name / of_class).mkdir(parents=True)

    def settle(data, weights=None):
        return folders.photos_and_weights(tmp_path / data, weights)[1]

    assert settle("data") == tmp_path / "weights"
    assert settle("b/photos") == tmp_path / "weights" / "photos"  # which leaves no outputs
    assert settle("a/photos") == tmp_path / "weights" / "photos" == settle("a/photos")
    (tmp_path / "weights/photos/best.weights.h5").write_bytes(b"")
    with pytest.raises(InputError, match=r"has the outputs for the photos in .*a/photos, not for"):
        settle("b/photos")
    with pytest.raises(InputError, match=r"has the outputs for the photos in .*data, not for"):
        settle("b/photos", tmp_path / "weights")
    assert settle("b/photos", tmp_path / "other") == tmp_path / "other"
    parser = parsers.model("")
    with pytest.raises(InputError, match=r"has the outputs for the photos in .*a/photos, not for"):
        parsers.find_models(parser.parse_args(["--data", str(tmp_path / "b/photos")]))
    assert parsers.find_models(parser.parse_args(["--data", str(tmp_path / "a/photos")]))
    (tmp_path / "a").rename(tmp_path / "c")
    capsys.readouterr()
    assert settle("c/photos") == tmp_path / "weights" / "photos"
    assert "a/photos, which no longer exists; assuming" in capsys.readouterr().err
    assert settle("c/photos")
    assert capsys.readouterr().err == ""
