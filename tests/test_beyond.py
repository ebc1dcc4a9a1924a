"""Beyond the article: the kernel classifier, how it was chosen, and fewer photos."""

import json
import shutil

import best
import bottleneck
import choose
from common import files
import finetune
import h5py
from common import images
import keras
import efficiency
import numpy as np
from common import parsers
import pytest
from common import records
import report
from common import features, kernel, parts, tables, vgg16
from common.cli import InputError
from conftest import ARTICLES, SMALL, example


@pytest.fixture
def unit_vectors():
    """40 unit vectors of 6 numbers, the classes a little apart, and their labels."""
    random = np.random.default_rng(0)
    labels = np.arange(40) % 2
    vectors = random.normal(size=(40, 6)) + labels[:, np.newaxis]
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype("float32"), labels


@pytest.fixture
def small_choice(monkeypatch):
    monkeypatch.setattr(choose, "IMAGE_SIZES", (32, 48))


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


def test_platt_scaling_gives_probabilities(unit_vectors):
    scores = np.random.default_rng(1).normal(size=2000)
    labels = (np.random.default_rng(2).random(2000) < 1 / (1 + np.exp(-(3 * scores - 1)))).astype(
        int
    )
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
    model = kernel.build_feature_model(base, ("block5_conv3",))
    np.testing.assert_allclose(model.predict(photos, verbose=0), expected, atol=1e-5)


def test_vgg16_is_fed_as_it_was_trained(drawings):
    folder = drawings / "train"
    generator = images.in_order_generator(folder, SMALL, 3, kernel.PREPROCESSING)
    photos = [
        keras.utils.img_to_array(
            keras.utils.load_img(path, target_size=SMALL, interpolation="bilinear")
        )
        for path in generator.filepaths[3:6]
    ]
    expected = keras.applications.vgg16.preprocess_input(np.stack(photos))
    np.testing.assert_array_equal(generator[1], expected)


def test_best_is_one_model_from_pixels_to_the_recorded_probability(workplace):
    record = workplace.run(best)
    path = workplace.weights / "best.weights.h5"
    with h5py.File(path) as file:
        model = keras.models.model_from_json(file["about/architecture"][()])
        about = json.loads(file["about/record"][()])
    model.load_weights(path)
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


def test_best_does_the_same_with_every_seed_and_looks_once(workplace, capsys):
    first = workplace.run(best)
    capsys.readouterr()
    second = workplace.run(best, "--seed", 1)
    assert "Using the features in pooled_features_train.npy" in capsys.readouterr().out
    assert second["val_probabilities"] == first["val_probabilities"]
    assert [len(runs) for runs in records.group([first, second])] == [2]


def test_choosing_does_not_look_at_validation_photos(workplace, small_choice, data, monkeypatch):
    monkeypatch.setattr(choose, "GAMMAS", (1.0,))
    monkeypatch.setattr(choose, "RIDGES", (0.1, 1.0))
    shutil.rmtree(data / "validation")
    workplace.data = data
    assert workplace.status(choose, "--vgg16-weights", "random") == 0
    choice = json.loads((workplace.weights / "choice.json").read_text())
    # two sizes as VGG16 was trained and one otherwise, one and both layers, two ridges
    assert len(choice["choices"]) == 3 * 2 * 2
    assert choice["photos"]["photos"] == 20
    assert len(tables.choice_table(choice).splitlines()) == 2 + 3 * 2


def test_folds_are_tested_by_what_has_not_seen_them():
    random = np.random.default_rng(0)
    noise = random.normal(size=(200, 50))
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    labels = random.permutation(np.arange(200) % 2)
    fold = choose.fold_numbers(labels, 5, seed=0)
    for label in 0, 1:
        assert np.bincount(fold[labels == label]).tolist() == [20] * 5
    result = choose.cross_validate(noise, labels, fold, gamma=4.0, ridge=0.01)
    assert 0.35 < result["accuracy"] < 0.65  # seen before, all would be right
    with pytest.raises(InputError, match="fewer than 101"):
        choose.fold_numbers(labels, 101, seed=0)
    one_hot = np.eye(2)[labels]  # the same as more than two classes are given
    many = choose.cross_validate(noise, one_hot, fold, gamma=4.0, ridge=0.01)
    assert many == pytest.approx(result)


def test_fine_tuning_refuses_a_classifier_of_other_preprocessing(workplace):
    workplace.run(bottleneck, "--epochs", 1)
    line = workplace.error(finetune, "--epochs", 1, "--preprocessing", "imagenet")
    assert "not of the same preprocessing" in line and "--preprocessing imagenet" in line
    record = workplace.run(bottleneck, "--epochs", 1, "--preprocessing", "imagenet")
    assert record["preprocessing"]["mode"] == "caffe"
    tuned = workplace.run(finetune, "--epochs", 1, "--preprocessing", "imagenet")
    assert tuned["preprocessing"] == record["preprocessing"]
    names = [tables.label(runs) for runs in records.group(workplace.records())]
    assert len(set(names)) == 3


def test_a_draws_fewer_photos_are_among_its_more(drawings):
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


def test_label_efficiency_goes_on_where_it_was(workplace, scripts_in_this_process, monkeypatch):
    monkeypatch.setattr(efficiency, "EXPERIMENTS", {"scratch": None})
    monkeypatch.setattr(efficiency, "PHOTOS_PER_CLASS", (2, 4))
    options = ("--draws", 1, "--epochs", 1, "--vgg16-weights", "random")
    assert workplace.status(efficiency, *options) == 0
    path = workplace.weights / "label_efficiency.jsonl"
    lines = path.read_text().splitlines()
    assert [json.loads(line)["data"]["train"]["photos"] for line in lines] == [4, 8]
    assert {json.loads(line)["data"]["validation"]["photos"] for line in lines} == {12}
    path.write_text(lines[0] + "\n")
    assert workplace.status(efficiency, *options) == 0
    again = path.read_text().splitlines()
    assert again[0] == lines[0] and len(again) == 2


def test_drawn_photos_take_their_rows_of_all_photos_features(workplace):
    weights, folder = workplace.weights, workplace.weights / "drawn"
    record = workplace.run(bottleneck, "--epochs", 1)
    generators = {
        split: images.in_order_generator(workplace.data / split, SMALL, 1)
        for split in ("train", "validation")
    }
    photos = [efficiency.draw(generators["train"], 4, seed=0)]
    photos += [efficiency.draw(generators["validation"], 6, seed=0)]
    parts.link(photos, 1, folder / "data")
    paths = [path for fold in photos for of_class in fold.values() for _, path in of_class]
    drawn = parts.describe(photos, 1, dict(zip(paths, files.photo_digests(paths), strict=True)))
    arguments = ("bottleneck_features", weights, folder, generators)
    other = record["data"] | {"train": "other photos"}
    efficiency.hand_over_features(*arguments, other, drawn)
    assert not (folder / "bottleneck_features_train.npy").exists()
    efficiency.hand_over_features(*arguments, record["data"], drawn)
    handed_over = np.load(folder / "bottleneck_features_train.npy")
    sources = {path: features.read_source(path) for path in folder.glob("*.npy")}
    workplace.data, workplace.weights = folder / "data", folder
    workplace.run(bottleneck, "--epochs", 1)  # would write others if these were not right
    assert len(sources) == 2
    assert {path: features.read_source(path) for path in sources} == sources
    (folder / "bottleneck_features_train.npy").unlink()
    workplace.run(bottleneck, "--epochs", 1)
    made = np.load(folder / "bottleneck_features_train.npy")
    np.testing.assert_allclose(handed_over, made, atol=1e-6)


def test_fewer_photos_are_told_beside_all():
    fewer = [example("best", a, s, photos_per_class=25) for s, a in enumerate((0.8, 0.9))]
    table = tables.label_efficiency_table(tables.by_photos(fewer, [example("best", 0.99)]))
    lines = [line.split("|")[1:-1] for line in table.splitlines()]
    cells = [[cell.strip() for cell in line] for line in lines]
    assert cells[0] == ["photos per class", "best"]
    assert cells[2:] == [["25", "0.850 ± 0.071 (2)"], ["1,000", "0.990 (1)"]]


def test_only_comparable_runs_of_best_are_told():
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
    assert tables.best_runs([*others[:2], good, *others[2:]], articles) == [good]
    assert "384 × 384 | BGR less the mean | 0.980 (1)" in tables.beyond([good, *others], articles)


def test_approaches_are_told_beside_the_faithful_runs_after_as_many_epochs():
    def run(curve, seed=0, **more):
        more = {"vgg16_weights": "imagenet", "top_model": {"epochs": 50}, **more}
        more |= {"epochs": len(curve), "history": {"val_accuracy": curve}}
        return example("finetune", curve[-1], seed, **more)

    faithful = [run([0.9] * 4 + [0.91 + seed / 100] + [0.93] * 45, seed) for seed in range(2)]
    ours = [
        *faithful,
        run([0.9, 0.9, 0.9, 0.9, 0.95], approaches={"l2": 0.01}),
        run([0.9, 0.9, 0.9, 0.9, 0.97], approaches={"l2": 0.01}, precision="mixed_bfloat16"),
        run([0.9, 0.98], preprocessing={"mode": "caffe"}, top_model={"epochs": 1}),
        run([0.9, 0.96], approaches={"l2": 0.01, "dropout": 0.7}),
    ]
    articles = tables.cells(ours)
    lines = tables.approaches_table(ours, articles).splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    alone = ["l2 0.01", "faithful", "5", "1", "0.950", "0.910", "0.915 ± 0.007", "0.903 ± 0.001"]
    assert cells[2] == alone
    assert cells[3][:5] == ["l2 0.01, dropout 0.7", "faithful", "2", "1", "0.960"]
    assert len(cells) == 4
    assert tables.approaches_table(faithful, articles) == "None yet."


def test_choices_of_other_photos_are_not_told():
    choice = {"photos": ARTICLES["train"], "vgg16_weights": "imagenet"}
    assert report.is_the_articles_choice(choice)
    assert not report.is_the_articles_choice(choice | {"photos": ARTICLES["validation"]})
    assert not report.is_the_articles_choice(choice | {"vgg16_weights": "random"})


def test_what_needs_no_epochs_does_not_take_them(workplace):
    assert "--epochs" in workplace.error(best, "--epochs", 3)
    assert parsers.experiment("", None, 32).parse_args([]).recipe == "best"


def test_the_articles_approaches_are_one_option_each(workplace):
    workplace.run(bottleneck, "--epochs", 1)
    plain = workplace.run(finetune, "--epochs", 1)
    assert "approaches" not in plain and plain["frozen_layers"] == 15
    rates = []
    for option, record in {
        ("--dropout", 0.7): {"dropout": 0.7},
        ("--l1", 0.01): {"l1": 0.01},
        ("--l2", 0.01): {"l2": 0.01},
        ("--more-augmentation",): {"more_augmentation": True},
        ("--one-more-block",): {"one_more_block": True},
    }.items():
        run = workplace.run(finetune, "--epochs", 1, *option)
        assert run["approaches"] == record
        path = workplace.weights / "fine_tuned.weights.h5"
        with h5py.File(path) as file:
            model = keras.models.model_from_json(file["about/architecture"][()])
        rates.append(model.layers[-1].layers[-2].rate)
        extra = run["history"]["val_loss"][0] - plain["history"]["val_loss"][0]
        assert (extra > 1) == (option[0] in ("--l1", "--l2"))  # thousands of kernels' penalty
        assert ("rotation_range" in run["augmentation"]) == (option[0] == "--more-augmentation")
        assert run["frozen_layers"] == (11 if option[0] == "--one-more-block" else 15)
    assert rates == [0.7, 0.5, 0.5, 0.5, 0.5]
    # none of them is taken for the article's fine-tuning
    groups = records.group(workplace.records())
    assert len(groups) == 7 and len({tables.label(runs) for runs in groups}) == 7
    assert "finetune" not in tables.beyond(workplace.records(), {})  # not of whole runs
    whole = [
        r | {"epochs": 50, "vgg16_weights": "imagenet", "data": ARTICLES}
        for r in workplace.records()
    ]
    for record in whole:
        record.pop("top_model", None)
    assert tables.cells(whole)["finetune"]["faithful"][0]["run"] == plain["run"]
    assert "finetune, one more block" in tables.beyond(whole, tables.cells(whole))


def test_one_more_block_trains_two(workplace):
    workplace.run(bottleneck, "--epochs", 1)
    base = vgg16.convolutional_base("random", SMALL)
    path = workplace.weights / "bottleneck_fc_model.weights.h5"
    model = finetune.build_model(base, path, finetune.FROZEN_LAYERS_BUT_TWO_BLOCKS)
    names = {layer.name for layer in model.layers if layer.trainable_weights} - {
        model.layers[-1].name
    }
    assert names == {f"block{block}_conv{number}" for block in (4, 5) for number in (1, 2, 3)}
    photos = np.random.default_rng(0).random((2, *SMALL, 3)).astype("float32")
    frozen, trained = finetune.split(model, finetune.FROZEN_LAYERS_BUT_TWO_BLOCKS)
    np.testing.assert_allclose(
        trained.predict(frozen.predict(photos, verbose=0), verbose=0),
        model.predict(photos, verbose=0),
        atol=1e-6,
    )


@pytest.mark.parametrize(
    "option", [("--dropout", "1"), ("--dropout", "-0.1"), ("--l2", "nan"), ("--l1", "inf")]
)
def test_approaches_are_numbers_that_make_sense(workplace, option):
    assert option[0] in workplace.error(finetune, *option)
