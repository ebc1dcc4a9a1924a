"""Beyond the article: the kernel classifier, how it was chosen, and fewer photos."""

import json
import shutil
import tracemalloc

import keras
import numpy as np
import pytest

import best
import bottleneck
import choose
import efficiency
import finetune
import report
from common import features, files, images, kernel, networks, parsers, parts, records
from common import selection, tables, vgg16
from common.cli import InputError
from conftest import ARTICLES, MODELS, SETTINGS, SMALL, example, stored_model


@pytest.fixture
def unit_vectors():
    """40 unit vectors of 6 numbers, the classes a little apart, and their labels."""
    random = np.random.default_rng(0)
    labels = np.arange(40) % 2
    vectors = random.normal(size=(40, 6)) + labels[:, np.newaxis]
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype("float32"), labels


def cells(table):
    """The cells of a Markdown table, row by row, its rule included."""
    return [[cell.strip() for cell in row.split("|")[1:-1]] for row in table.splitlines()]


def test_similarity_is_the_gaussian_kernel(unit_vectors):
    x, _ = unit_vectors
    distances = ((x[:, np.newaxis] - x[np.newaxis]) ** 2).sum(axis=2)
    np.testing.assert_allclose(kernel.similarity(x, x, 1.5), np.exp(-1.5 * distances), rtol=1e-5)


def test_left_out_means_computed_without_the_photo(unit_vectors):
    x, labels = unit_vectors
    _, left_out = kernel.kernel_ridge(x, labels, gamma=1.0, ridge=0.1)
    for number in range(len(x)):
        others = np.arange(len(x)) != number
        coefficients, _ = kernel.kernel_ridge(x[others], labels[others], gamma=1.0, ridge=0.1)
        score = kernel.similarity(x[[number]], x[others], 1.0) @ coefficients
        assert score[0] == pytest.approx(left_out[number], abs=1e-8)


def many_unit_vectors(photos, classes=2):
    random = np.random.default_rng(0)
    labels = np.arange(photos) % classes
    vectors = random.normal(size=(photos, 20)) + 1.2 * np.eye(classes, 20)[labels]
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype("float32"), labels


@pytest.mark.parametrize("classes", [2, 3])
def test_with_all_photos_as_landmarks_nothing_is_approximate(classes, monkeypatch):
    monkeypatch.setattr(kernel, "ROWS", 70)
    x, labels = many_unit_vectors(300, classes)
    labels = labels if classes == 2 else np.eye(3)[labels]
    exact, left_out = kernel.kernel_ridge(x, labels, 2.0, 0.01)
    near, near_left_out = kernel.landmark_ridge(x, x, labels, 2.0, 0.01)
    at = kernel.similarity(-x, x, 2.0)
    np.testing.assert_allclose(at @ near, at @ exact, atol=1e-4)
    np.testing.assert_allclose(near_left_out, left_out, atol=1e-4)


def test_many_photos_need_few_kernel_functions_and_are_classified_as_well(monkeypatch):
    x, labels = many_unit_vectors(1500)
    train, tested = slice(0, 1000), slice(1000, None)
    accuracies = []
    for exact in 1000, 500:
        monkeypatch.setattr(kernel, "EXACT", exact)
        monkeypatch.setattr(kernel, "LANDMARKS", 200)
        classifier = kernel.build_classifier(x[train], labels[train], kernel.GAMMA, kernel.RIDGE)
        assert classifier.layers[0].units == (1000 if exact == 1000 else 200)
        answers = networks.class_probabilities(classifier.predict(x[tested], verbose=0))
        accuracies.append(kernel.measure(answers, labels[tested])["accuracy"])
    assert accuracies[0] > 0.7 and abs(accuracies[0] - accuracies[1]) < 0.05


def test_near_duplicates_and_few_dimensions_do_no_harm(monkeypatch):
    """Of a fixed camera, say."""
    random = np.random.default_rng(0)
    for dimensions in 3, 40:
        x = np.abs(random.normal(size=(900, dimensions)))
        x[300:] = x[0] * (1 + 1e-3 * random.normal(size=(600, dimensions)))
        x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype("float32")
        labels = (x[:, 0] > x[:, 1]).astype(float)
        exact, left_out = kernel.kernel_ridge(x, labels, 2.0, 0.01)
        near, near_left_out = kernel.landmark_ridge(x, x[::2], labels, 2.0, 0.01)
        found = kernel.similarity(x[:300], x[::2], 2.0) @ near
        expected = kernel.similarity(x[:300], x, 2.0) @ exact
        assert np.corrcoef(found, expected)[0, 1] > 0.8
        assert np.corrcoef(near_left_out, left_out)[0, 1] > 0.8


def test_memory_grows_with_the_photos_and_not_with_their_square(monkeypatch):
    monkeypatch.setattr(kernel, "LANDMARKS", 100)
    peaks = []
    for photos in 6_000, 12_000:
        x, labels = many_unit_vectors(photos)
        tracemalloc.start()
        kernel.fit(x, labels, 2.0, 0.01)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0] and peaks[1] < 20e6  # the exact matrix: 1.2 GB


def test_platt_scaling_gives_probabilities():
    scores = np.random.default_rng(1).normal(size=2000)
    probabilities = 1 / (1 + np.exp(-(3 * scores - 1)))
    labels = (np.random.default_rng(2).random(2000) < probabilities).astype(int)
    slope, bias = kernel.platt_scaling(scores, labels)
    assert (slope, bias) == (pytest.approx(3, abs=0.4), pytest.approx(-1, abs=0.3))


def test_two_dense_layers_are_the_kernel_classifier(unit_vectors):
    x, labels = unit_vectors
    coefficients, left_out = kernel.kernel_ridge(x, labels, kernel.GAMMA, kernel.RIDGE)
    slope, bias = kernel.platt_scaling(left_out, labels)
    new = x[::-1] * np.array([1, -1, 1, 1, 1, 1], "float32")
    scores = kernel.similarity(new, x, kernel.GAMMA) @ coefficients
    expected = 1 / (1 + np.exp(-(slope * scores + bias)))
    classifier = kernel.build_classifier(x, labels, kernel.GAMMA, kernel.RIDGE)
    answers = classifier.predict(new, verbose=0)[:, 0]
    np.testing.assert_allclose(answers, expected, atol=1e-5)


def test_features_are_pooled_maps_of_length_one():
    base = vgg16.convolutional_base("random", SMALL)
    photos = np.random.default_rng(0).random((2, *SMALL, 3)).astype("float32")
    maps = keras.Model(base.input, base.get_layer("block5_conv3").output).predict(photos, verbose=0)
    parts = [maps.mean(axis=(1, 2)), maps.max(axis=(1, 2))]
    parts = [part / np.linalg.norm(part, axis=1, keepdims=True) for part in parts]
    expected = np.concatenate(parts, axis=1) / np.sqrt(2)
    model = kernel.build_feature_model(base, ("block5_conv3",), mirrored=False)
    np.testing.assert_allclose(model.predict(photos, verbose=0), expected, atol=1e-5)


def test_a_mirrored_photo_gives_the_same_features():
    """Those of the mean of both maps, the mirror image's turned back."""
    base = vgg16.convolutional_base("random", SMALL)
    photos = np.random.default_rng(0).random((2, *SMALL, 3)).astype("float32")
    model = kernel.build_feature_model(base, ("block5_conv3",), mirrored=True)
    features = model.predict(photos, verbose=0)
    turned = model.predict(photos[:, :, ::-1], verbose=0)
    np.testing.assert_allclose(features, turned, atol=1e-6)
    maps = keras.Model(base.input, base.get_layer("block5_conv3").output)
    maps = [maps.predict(photos[:, :, ::step], verbose=0)[:, :, ::step] for step in (1, -1)]
    greatest = np.mean(maps, axis=0).max(axis=(1, 2))
    half = features[:, features.shape[1] // 2 :] * np.sqrt(2)
    np.testing.assert_allclose(
        half, greatest / np.linalg.norm(greatest, axis=1, keepdims=True), atol=1e-5
    )


def test_vgg16_is_fed_as_it_was_trained(drawings):
    folder = drawings / "train"
    generator = images.in_order_generator(folder, SMALL, 3, kernel.PREPROCESSING)
    load = {"target_size": SMALL, "interpolation": "bilinear"}
    photos = [keras.utils.load_img(path, **load) for path in generator.filepaths[3:6]]
    photos = np.stack([keras.utils.img_to_array(photo) for photo in photos])
    expected = keras.applications.vgg16.preprocess_input(photos)
    np.testing.assert_array_equal(generator[1], expected)


def test_best_is_one_model_from_pixels_to_the_recorded_probability(workplace):
    record = workplace.after(best)
    model, about = stored_model(workplace.weights / MODELS[best])
    generator = images.validation_generator(
        workplace.data / "validation", about["image_size"], 5, about["preprocessing"]
    )
    answers = model.predict(generator, verbose=0)[:, 0]
    # Batches of other sizes may be summed in another order: 13 convolutions of 9 places and 32
    # filters at most. That rounding goes into an exponent, times 2 gamma; the similarities are
    # weighted and added, and a sigmoid's slope is 1/4 at most.
    rounding = np.finfo("float32").eps * np.sqrt(13 * 9 * 32)
    weights = np.abs(model.layers[-1].layers[-1].kernel).sum()
    bound = 2 * kernel.GAMMA * rounding * weights / 4  # 1e-3
    np.testing.assert_allclose(answers, record["val_probabilities"], atol=bound)
    assert record["val_accuracy"] == np.mean((answers > 0.5) == generator.classes)
    loss = keras.losses.binary_crossentropy(generator.classes.astype("float32"), answers)
    assert record["history"]["val_loss"] == [pytest.approx(float(loss), abs=1e-4)]


def test_best_is_the_same_with_every_seed_and_reuses_its_features(workplace, capsys):
    first = workplace.after(best)
    second = workplace.run(best, "--seed", 1)
    assert "Using the features in pooled_features_train.npy" in capsys.readouterr().out
    assert second["val_probabilities"] == first["val_probabilities"]
    assert [len(runs) for runs in records.group([first, second])] == [2]


def test_choosing_does_not_look_at_validation_photos(workplace, data, monkeypatch):
    settings = {"IMAGE_SIZES": (32, 48), "GAMMAS": (1.0, 2.0), "RIDGES": (0.01, 1.0)}
    settings |= {"TOGETHER": ((48, 32, False),), "MIRRORED": (48,)}
    for name, values in settings.items():
        monkeypatch.setattr(choose, name, values)
    workplace.data = data
    for photo in (data / "validation").glob("*/*"):
        photo.write_bytes(b"broken")
    assert workplace.status(choose, "--vgg16-weights", "random") == 0
    choice = json.loads((workplace.weights / "choice.json").read_text())
    # two sizes and one mirrored as VGG16 was trained and one otherwise, one and both layers; both
    # sizes; each with two gammas and two ridges
    assert len(choice["choices"]) == (4 * 2 + 1) * 4
    assert choice["photos"]["photos"] == 20
    lines = tables.choice_table(choice).splitlines()
    assert len(lines) == 2 + 4 * 2 + 1
    ways = [line.split("|")[1].strip() for line in lines]
    assert ways.count("48 × 48, mirrored") == 2 and ways[-1] == "48 × 48 and 32 × 32"
    assert " ± " in lines[-1]


def test_copies_of_a_photo_are_in_one_fold(workplace, data, monkeypatch):
    """Or a setting would be praised for knowing again what it was trained on."""
    photos = sorted((data / "train/dogs").iterdir())  # ten, two in each fold
    for copy in photos[1:3]:
        shutil.copy(photos[0], copy)
    folds = []
    for name, value in {"IMAGE_SIZES": (32,), "MIRRORED": (), "TOGETHER": ()}.items():
        monkeypatch.setattr(choose, name, value)
    found = {"accuracy": 0, "mean_squared_error": 0, "mean_squared_errors": [0] * 5}
    monkeypatch.setattr(choose, "cross_validate", lambda *of: folds.append(of[2]) or found)
    workplace.data = data
    assert workplace.status(choose, "--vgg16-weights", "random") == 0
    assert all(len(set(fold[10:13])) == 1 < len(set(fold[10:])) for fold in folds) and folds


def test_too_few_photos_for_folds_are_told_at_once(workplace, data):
    for photo in sorted((data / "train/dogs").iterdir())[4:]:
        photo.unlink()
    workplace.data = data
    assert workplace.status(choose, "--vgg16-weights", "random") == 2
    assert list((workplace.weights / "choice").iterdir()) == []
    cats = sorted((data / "train/cats").iterdir())
    for copy in cats[1:]:
        shutil.copy(cats[0], copy)
    assert "too few different training photos" in workplace.error(
        choose, "--vgg16-weights", "random"
    )


def test_each_fold_is_tested_by_a_classifier_trained_on_the_others():
    random = np.random.default_rng(0)
    noise = random.normal(size=(200, 50))
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    labels = random.permutation(np.arange(200) % 2)
    fold = choose.fold_numbers(labels, [None] * len(labels), 5, seed=0)
    for label in 0, 1:
        assert np.bincount(fold[labels == label]).tolist() == [20] * 5
    result = choose.cross_validate(noise, labels, fold, gamma=4.0, ridge=0.01)
    assert 0.35 < result["accuracy"] < 0.65  # seen before, all would be right
    with pytest.raises(InputError, match="to make 101 folds"):
        choose.fold_numbers(labels, [None] * len(labels), 101, seed=0)
    one_hot = np.eye(2)[labels]  # the same as more than two classes are given
    many = choose.cross_validate(noise, one_hot, fold, gamma=4.0, ridge=0.01)
    for name in "accuracy", "mean_squared_error":
        assert many[name] == pytest.approx(result[name])
        assert np.mean(result[f"{name.replace('accuracy', 'accuracie')}s"]) == pytest.approx(
            result[name]
        )


def test_fine_tuning_refuses_a_classifier_of_other_preprocessing(workplace):
    options = (*SETTINGS, "--epochs", 1, "--preprocessing", "imagenet")
    workplace.after(bottleneck)
    line = workplace.error(finetune, *options)
    assert "not of the same preprocessing" in line and "--preprocessing imagenet" in line
    record = workplace.run(bottleneck, *options)
    assert record["preprocessing"]["mode"] == "caffe"
    tuned = workplace.run(finetune, *options)
    assert tuned["preprocessing"] == record["preprocessing"]
    names = [tables.label(runs) for runs in records.group(workplace.records())]
    assert len(set(names)) == 3


def test_smaller_draws_are_subsets_of_larger_ones(drawings):
    generator = images.in_order_generator(drawings / "train", SMALL, 4)
    few, more = (efficiency.draw(generator, count, seed=0) for count in (3, 6))
    other = efficiency.draw(generator, 3, seed=1)
    for name in "cats", "dogs":
        assert len(few[name]) == 3 and len(more[name]) == 6
        assert set(few[name]) < set(more[name])
        assert all(path.parent.name == name for _, path in more[name])
    assert few != other
    with pytest.raises(InputError, match="10 photos of cats, where 11"):
        efficiency.draw(generator, 11, seed=0)


def test_label_efficiency_resumes(workplace, scripts_in_this_process, monkeypatch):
    monkeypatch.setattr(efficiency, "PHOTOS_PER_CLASS", (2, 4))
    options = ("--draws", 1, "--epochs", 1, "--vgg16-weights", "random", "--experiment", "scratch")
    assert workplace.status(efficiency, *options) == 0
    path = workplace.weights / "label_efficiency.jsonl"
    lines = path.read_text().splitlines()
    assert [json.loads(line)["data"]["train"]["photos"] for line in lines] == [4, 8]
    assert {json.loads(line)["data"]["validation"]["photos"] for line in lines} == {12}
    path.write_text(lines[0] + "\n")
    assert workplace.status(efficiency, *options) == 0
    again = path.read_text().splitlines()
    assert again[0] == lines[0] and len(again) == 2


def test_features_of_drawn_photos_are_rows_of_all_photos_features(workplace):
    record = workplace.after(bottleneck)
    weights, folder = workplace.weights, workplace.weights / "drawn"
    splits = ("train", "validation")
    generators = {s: images.in_order_generator(workplace.data / s, SMALL, 1) for s in splits}
    photos = [efficiency.draw(generators["train"], 4, seed=0)]
    photos += [efficiency.draw(generators["validation"], 6, seed=0)]
    parts.link(photos, 1, folder / "data")
    paths = [path for fold in photos for of_class in fold.values() for _, path in of_class]
    drawn = parts.describe(photos, 1, dict(zip(paths, files.photo_digests(paths), strict=True)))
    arguments = ("bottleneck_features", weights, folder, generators)
    path = folder / "bottleneck_features_train.npy"
    parts.hand_over_features(*arguments, record["data"] | {"train": "other photos"}, drawn)
    assert not path.exists()
    parts.hand_over_features(*arguments, record["data"], drawn)
    handed_over = np.load(path)
    sources = {path: features.read_source(path) for path in folder.glob("*.npy")}
    workplace.data, workplace.weights = folder / "data", folder
    workplace.run(bottleneck, "--epochs", 1)  # would write others if these were not right
    assert len(sources) == 2
    assert {path: features.read_source(path) for path in sources} == sources
    path.unlink()
    workplace.run(bottleneck, "--epochs", 1)
    np.testing.assert_allclose(handed_over, np.load(path), atol=1e-6)


def test_fewer_photos_are_listed_beside_all():
    fewer = [example("best", a, s, photos_per_class=25) for s, a in enumerate((0.8, 0.9))]
    table = tables.label_efficiency_table(selection.by_photos(fewer, [example("best", 0.99)]))
    assert cells(table)[0] == ["photos per class", "best"]
    assert cells(table)[2:] == [["25", "0.850 ± 0.071 (2)"], ["1,000", "0.990 (1)"]]
    short = [example("scratch", 0.6, epochs=2, recipe="as-printed", photos_per_class=25)]
    table = tables.label_efficiency_table(selection.by_photos(short))
    assert cells(table)[0] == ["photos per class", "scratch (as-printed), 2 epochs"]


def test_features_without_mirror_images_are_not_used_for_mirrored_ones(
    workplace, monkeypatch, capsys
):
    monkeypatch.setattr(kernel, "MIRRORED", False)
    plain = workplace.run(best)
    monkeypatch.undo()
    capsys.readouterr()
    mirrored = workplace.run(best)
    assert "Using the features" not in capsys.readouterr().out
    assert mirrored["val_probabilities"] != plain["val_probabilities"]
    assert records.setting(mirrored) != records.setting(plain)
    before = {name: value for name, value in plain.items() if name != "mirrored"}
    assert records.setting(before) == records.setting(plain)  # of records older than the field
    assert "mirrored" in tables.label([mirrored]) and "mirrored" not in tables.label([before])


def test_fewer_photos_are_those_of_the_faithful_recipe():
    few = {"photos_per_class": 25, "drawn_from": ARTICLES}
    drawn = [example("scratch", 0.5, n, recipe="constants", **few) for n in range(2)]
    drawn.append(example("scratch", 0.6, **few))
    articles = selection.cells([example("scratch", 0.8), example("bottleneck", 0.9)])
    found = selection.fewer_photos(drawn, [], articles)["scratch"]
    accuracies = {photos: tables.accuracies(runs) for photos, runs in found.items()}
    assert accuracies == {25: [0.6], 1000: [0.8]}


def test_fewer_photos_of_best_are_those_of_its_settings_of_today():
    now = {"recipe": "best", "epochs": 1, "vgg16_weights": "imagenet", "mirrored": True}
    whole = example("best", 0.99, finished="2026-01-02", **now)
    few = {"photos_per_class": 25, "drawn_from": whole["data"]}
    drawn = [
        example("best", 0.9, seed, **few, **now | {"batch_size": size})
        for seed, size in enumerate((8, 32))  # its memory, not another setting
    ]
    drawn.append(example("best", 0.5, **few, **now | {"mirrored": False}))
    earlier = example("best", 0.6, finished="2026-01-01", **now | {"mirrored": False})
    articles = {"scratch": {"faithful": [whole]}, "bottleneck": {}}  # for precision and machine
    found = selection.fewer_photos(drawn, [earlier, whole], articles)
    assert {photos: tables.accuracies(runs) for photos, runs in found["best"].items()} == {
        25: [0.9, 0.9],
        1000: [0.99],
    }


def test_only_comparable_runs_of_best_are_listed():
    def run(accuracy, finished, **more):
        more = {"image_size": [384, 384], "preprocessing": kernel.PREPROCESSING, **more}
        more = {"recipe": "best", "epochs": 1, "vgg16_weights": "imagenet", **more}
        return example("best", accuracy, finished=finished, **more)

    good = run(0.98, "2026-01-02")
    articles = {"scratch": {"faithful": [good]}}  # for its precision and machine
    others = [
        run(0.97, "2026-01-01", gamma=3),
        run(0.5, "2026-01-03", vgg16_weights="random"),
        run(0.6, "2026-01-03", precision="mixed_bfloat16"),
    ]
    assert selection.best_runs([*others[:2], good, *others[2:]], articles) == [good]
    assert "384 × 384 | BGR less the mean | 0.980 (1)" in tables.beyond([good, *others], articles)


def test_approaches_are_compared_with_runs_of_the_same_seed():
    def run(last, seed=0, before=0.9, **more):
        top_model = {"epochs": 50, "val_accuracy": 0.9, **more.pop("top_model", {})}
        more |= {"vgg16_weights": "imagenet", "top_model": top_model}
        curve = [before] * 49 + [last]
        return example("finetune", last, seed, history={"val_accuracy": curve}, **more)

    penalty = {"approaches": {"l2": 0.01}}
    ours = [
        *(run(0.91 + seed / 100, seed) for seed in range(2)),
        run(0.95, **penalty),
        run(0.96, 1, **penalty),
        run(0.98, 7, **penalty),  # nothing to compare with
        run(0.97, precision="mixed_bfloat16", **penalty),
        run(0.98, epochs=10, **penalty),
        run(0.98, preprocessing={"mode": "caffe"}, top_model={"epochs": 1}),
        run(0.96, approaches={"l2": 0.01, "dropout": 0.7}),
        run(0.97, preprocessing={"mode": "caffe"}, top_model={"val_accuracy": 0.98}),
        run(0.99, recipe="constants", **penalty),
    ]
    articles = selection.cells(ours)
    _, _, *rows = cells(tables.approaches_table(ours, articles))
    none, alone, both, fed = rows
    assert none[:4] == ["nothing more", "2", "0.900 ± 0.000", "0.915 ± 0.007"]
    assert none[4::2] == ["", ""]
    assert alone[:4] == ["l2 0.01", "3", "0.900 ± 0.000", "0.963 ± 0.015"]
    assert alone[5] == "0.913 ± 0.003"
    assert alone[4::2] == ["+0.040 (+0.040 to +0.040)", "+0.008 (+0.008 to +0.008)"]
    assert both == ["l2 0.01, dropout 0.7", "1", "0.900", "0.960", "+0.050", "0.912", "+0.010"]
    assert fed[:4] == ["BGR less the mean", "1", "0.980", "0.970"]
    assert [row[3] for row in cells(tables.beyond(ours, articles))[2:]] == [
        "0.915 ± 0.007 (2)",
        "0.963 ± 0.015 (3)",
        "0.960 (1)",
        "0.970 (1)",
    ]
    assert tables.approaches_table([], articles) == "None yet."


def test_choices_on_other_photos_are_not_published():
    choice = {"photos": ARTICLES["train"], "vgg16_weights": "imagenet"}
    assert report.is_the_articles_choice(choice)
    assert not report.is_the_articles_choice(choice | {"photos": ARTICLES["validation"]})
    assert not report.is_the_articles_choice(choice | {"vgg16_weights": "random"})


def test_best_has_no_epochs_option(workplace):
    assert "--epochs" in workplace.error(best, "--epochs", 3)
    assert parsers.experiment("", None, 32).parse_args([]).recipe == "best"


def test_each_of_the_articles_approaches_is_an_option(workplace):
    plain = workplace.after(finetune)
    assert "approaches" not in plain and plain["frozen_layers"] == 15
    options = [("--dropout", 0.7), ("--l1", 0.01), ("--l2", 0.01), ("--learning-rate", 1e-5)]
    for name, *value in [*options, ("--more-augmentation",), ("--one-more-block",)]:
        run = workplace.run(finetune, *SETTINGS, "--epochs", 1, name, *value)
        assert run["approaches"] == {name.strip("-").replace("-", "_"): (*value, True)[0]}
        model, _ = stored_model(workplace.weights / MODELS[finetune])
        assert model.layers[-1].layers[-2].rate == (0.7 if name == "--dropout" else 0.5)
        extra = run["history"]["val_loss"][0] - plain["history"]["val_loss"][0]
        assert (extra > 1) == (name in ("--l1", "--l2"))  # thousands of kernels' penalty
        assert ("rotation_range" in run["augmentation"]) == (name == "--more-augmentation")
        assert run["frozen_layers"] == (11 if name == "--one-more-block" else 15)
        rate = run["optimizer"]["learning_rate"]
        assert rate == pytest.approx(1e-5 if name == "--learning-rate" else 1e-4)
    # none of them counts as the article's fine-tuning
    groups = records.group(workplace.records())
    assert len(groups) == 8 and len({tables.label(runs) for runs in groups}) == 8
    assert "finetune" not in tables.beyond(workplace.records(), {})  # not of whole runs
    of_article = {"epochs": 50, "batch_size": 32, "vgg16_weights": "imagenet", "data": ARTICLES}
    whole = [record | of_article for record in workplace.records()]
    for record in whole:
        record.pop("top_model", None)
    assert selection.cells(whole)["finetune"]["faithful"][0]["run"] == plain["run"]
    assert "finetune, one more block" in tables.beyond(whole, selection.cells(whole))


def test_one_more_block_trains_two(workplace):
    workplace.after(bottleneck)
    base = vgg16.convolutional_base("random", SMALL)
    frozen_layers = finetune.FROZEN_LAYERS_BUT_TWO_BLOCKS
    model = finetune.build_model(base, workplace.weights / MODELS[bottleneck], frozen_layers)
    *trained, classifier = [layer.name for layer in model.layers if layer.trainable_weights]
    assert trained == [f"block{block}_conv{number}" for block in (4, 5) for number in (1, 2, 3)]
    assert classifier == model.layers[-1].name
    photos = np.random.default_rng(0).random((2, *SMALL, 3)).astype("float32")
    frozen, trained = finetune.split(model, frozen_layers)
    answers = trained.predict(frozen.predict(photos, verbose=0), verbose=0)
    np.testing.assert_allclose(answers, model.predict(photos, verbose=0), atol=1e-6)


@pytest.mark.parametrize(
    "option", [("--dropout", "1"), ("--dropout", "-0.1"), ("--l2", "nan"), ("--l1", "inf")]
)
def test_impossible_values_of_approaches_are_refused(workplace, option):
    assert option[0] in workplace.error(finetune, *option)
