"""The three experiments, one after the other as a user runs them, on drawings and a small VGG16."""

import json
import os
import shutil
import signal

import h5py
import keras
import numpy as np
import pytest
from PIL import Image

import bottleneck
import finetune
import scratch
import small
from common import features, files, folders, images, keras2016, networks, recipes, runs, vgg16
from conftest import EXPERIMENTS, MODELS, SETTINGS, SIZES, SMALL
from conftest import example, interrupt, stored_model


def same_history(one, other):
    assert one["history"].keys() == other["history"].keys()
    for name, values in one["history"].items():
        np.testing.assert_allclose(values, other["history"][name], rtol=1e-4, atol=1e-5)


def test_the_article_from_top_to_bottom(workplace):
    workplace.after(scratch, finetune)
    assert [r["experiment"] for r in workplace.records()] == ["scratch", "bottleneck", "finetune"]
    settings = {"recipe": "faithful", "seed": 3, "epochs": 4, "batch_size": 8}
    settings["class_indices"] = {"cats": 0, "dogs": 1}
    for record in workplace.records():
        assert {name: record[name] for name in settings} == settings
        assert [record["data"][split]["photos"] for split in ("train", "validation")] == [20, 12]
        for metric in "loss", "accuracy", "val_loss", "val_accuracy":
            assert len(record["history"][metric]) == 4
        assert record["val_accuracy"] == record["history"]["val_accuracy"][-1]
        right = (np.array(record["val_probabilities"]) > 0.5) == ([False] * 6 + [True] * 6)
        assert right.mean() == pytest.approx(record["val_accuracy"])
        assert len(record["seconds_per_epoch"]) == 4
        assert record["versions"]["keras"] == keras.__version__
        assert 1 <= record["hardware"]["cores"] <= os.cpu_count()
    features = ("bottleneck_features_train", "bottleneck_features_validation")
    features += ("frozen_features_validation",)
    assert {path.name for path in workplace.weights.iterdir()} == {
        *(MODELS[script] for script in EXPERIMENTS),
        *(f"{name}.{kind}" for name in features for kind in ("npy", "json")),
        *("checkpoints", "photos.txt", "runs.jsonl", ".lock", ".listing.json"),
    }
    assert list((workplace.weights / "checkpoints").iterdir()) == []


@pytest.mark.parametrize("of_2016", [True, False])
def test_the_recipe_is_what_is_compiled_and_recorded(workplace, monkeypatch, of_2016):
    name, option = ("faithful", "--recipe=faithful") if of_2016 else ("as-printed", "--as-printed")
    workplace.run(bottleneck, "--epochs", 1, "--recipe", name)  # for finetune
    compiled = []

    def note_and_stop(run, model, _):
        settings, _, _ = runs.begin(run.settings, model)
        compiled.append((model, settings))
        interrupt()

    monkeypatch.setattr(runs.Run, "resume", note_and_stop)
    for script in EXPERIMENTS:
        assert workplace.status(script, option) == 130
        model, settings = compiled.pop()
        assert settings["recipe"] == name
        assert settings.get("loss") == ("of clipped probabilities" if of_2016 else None)
        loss = keras2016.binary_crossentropy if of_2016 else "binary_crossentropy"
        assert model.loss == loss
        resizing = "nearest-2016" if of_2016 else "nearest"
        assert settings["preprocessing"]["interpolation"] == resizing
        if script is not finetune:
            assert isinstance(model.optimizer, keras2016.RMSprop) == of_2016
            denominator = "sqrt(a) + epsilon" if of_2016 else None
            assert settings["optimizer"].get("denominator") == denominator
            epsilon = 1e-8 if of_2016 else keras.optimizers.RMSprop().epsilon
            assert settings["optimizer"]["epsilon"] == epsilon
        if script is not bottleneck:
            augmentation = settings["augmentation"]
            shear = np.degrees(0.2) if of_2016 else 0.2
            assert augmentation["shear_range"] == pytest.approx(shear)
            assert augmentation["interpolation_order"] == (0 if of_2016 else 1)


@pytest.mark.parametrize("change", recipes.CHANGES)
def test_recipes_of_one_change(change):
    def settings(recipe):
        augmentation = recipes.augmentation(recipe, shear_range=0.2)
        return {
            "shear": augmentation["shear_range"],
            "axes": augmentation.get("first_axis"),
            "centre": augmentation.get("centre"),
            "interpolation": augmentation["interpolation_order"],
            "resizing": recipes.preprocessing(recipe)["interpolation"],
            "loss": recipes.loss_clipped(recipe),
            "epsilon": recipes.rmsprop(recipe),
            "pooling": recipes.pooling_gradient(recipe),
        }

    printed = settings("as-printed")
    expected = {**settings("faithful"), change: printed[change]}
    assert settings(f"as-printed-{change}") == expected not in (printed, settings("faithful"))


def test_defaults_and_layers_are_the_articles():
    for script in EXPERIMENTS:
        assert (script.EPOCHS, script.BATCH_SIZE, SIZES[script]) == (50, 32, (150, 150))
    assert finetune.DROPOUT == bottleneck.DROPOUT
    model = scratch.build_model((150, 150))
    # 3·3·3·32+32, 3·3·32·32+32, 3·3·32·64+64, 17·17·64·64+64, 64+1
    assert model.count_params() == 896 + 9248 + 18496 + 1183808 + 65
    assert [layer.rate for layer in model.layers if hasattr(layer, "rate")] == [0.5]


def test_seeds_decide(workplace):
    one = workplace.after(scratch)
    same = workplace.run(scratch, *SETTINGS)
    other = workplace.run(scratch, *SETTINGS, "--seed", 1)
    same_history(one, same)
    assert one["history"]["loss"] != other["history"]["loss"]
    assert one["run"] != same["run"]


def test_features_and_labels_belong_together(workplace):
    workplace.after(bottleneck)
    base = vgg16.convolutional_base("random", SMALL)
    for split in "train", "validation":
        features = np.load(workplace.weights / f"bottleneck_features_{split}.npy")
        generator = images.in_order_generator(workplace.data / split, SMALL, 5)
        assert len(features) == len(generator.classes)
        for row in 0, len(features) // 2, len(features) - 1:
            alone = base.predict(generator.photo(row)[None] / np.float32(255), verbose=0)[0]
            np.testing.assert_allclose(features[row], alone, rtol=1e-3, atol=1e-4)
            assert ("cat", "dog")[generator.classes[row]] in generator.filenames[row]


def test_array_batches_keep_rows_together():
    batches = features.ArrayIterator(np.arange(10), np.arange(10) * 3, 4)
    rows = [batches[number] for number in range(len(batches))]
    assert [len(x) for x, _ in rows] == [4, 4, 2]
    x, y = (np.concatenate(parts) for parts in zip(*rows, strict=True))
    np.testing.assert_array_equal(y, 3 * x)
    np.testing.assert_array_equal(np.sort(x), np.arange(10))


def test_assembled_model_agrees_with_the_bottleneck_model(workplace):
    workplace.after(bottleneck)
    base = vgg16.convolutional_base("random", SMALL)
    path = workplace.weights / MODELS[bottleneck]
    top = vgg16.build_top_model(base.output_shape[1:], 0.5)
    top.load_weights(path)
    features = np.load(workplace.weights / "bottleneck_features_validation.npy")
    expected = top.predict(features, verbose=0)
    assembled = finetune.build_model(base, path)
    generator = images.in_order_generator(workplace.data / "validation", SMALL, 5)
    np.testing.assert_allclose(assembled.predict(generator, verbose=0), expected, atol=1e-5)


def test_precision(workplace, capsys):
    workplace.after(scratch, finetune)
    for precision in "float32", "mixed_bfloat16":
        for script in EXPERIMENTS:
            if precision == "mixed_bfloat16":
                workplace.run(script, "--epochs", 1, "--seed", 3, "--precision", precision)
                assert "Using the features" not in capsys.readouterr().out
            with h5py.File(workplace.weights / MODELS[script]) as file:
                architecture = file["about/architecture"][()].decode()
                record = json.loads(file["about/record"][()])
            assert record["precision"] == precision
            assert ("mixed_bfloat16" in architecture) == (precision == "mixed_bfloat16")
    with h5py.File(workplace.weights / MODELS[finetune]) as file:
        types = set()
        file.visititems(lambda _, item: types.add(getattr(item, "dtype", None)))
    assert np.dtype("float32") in types and np.dtype("uint16") not in types
    assert np.load(workplace.weights / "bottleneck_features_train.npy").dtype == np.float32


@pytest.mark.parametrize(
    ("gpus", "flags", "capability", "policy"),
    [
        ([], "fma avx512f", None, "float32"),
        ([], "fma avx512_bf16 avx512f", None, "mixed_bfloat16"),
        ([], "amx_bf16", None, "mixed_bfloat16"),
        (["GPU:0"], "amx_bf16", (7, 5), "float32"),
        (["GPU:0"], "fma", (8, 0), "mixed_bfloat16"),
    ],
)
def test_bfloat16_only_where_the_machine_multiplies_in_it(
    monkeypatch, gpus, flags, capability, policy
):
    config, details = runs.tf.config, {"compute_capability": capability}
    monkeypatch.setattr(config, "list_physical_devices", lambda kind: gpus)
    monkeypatch.setattr(config.experimental, "get_device_details", lambda gpu: details)
    monkeypatch.setattr(runs.Path, "read_text", lambda path: f"flags : {flags}\n")
    assert runs.fastest_precision() == policy


def test_fine_tuning_validates_the_whole_model(workplace):
    """Though validation photos go through the frozen layers only once."""
    workplace.after(finetune)
    model, record = stored_model(workplace.weights / MODELS[finetune])
    model.compile(loss="binary_crossentropy", metrics=["accuracy"])
    photos = images.validation_generator(workplace.data / "validation", SMALL, 5)
    loss, accuracy = model.evaluate(photos, verbose=0)
    assert record["history"]["val_loss"][-1] == pytest.approx(loss, rel=1e-5)
    assert record["val_accuracy"] == pytest.approx(accuracy)


def test_fine_tuning_behind_the_frozen_layers_is_fine_tuning(workplace):
    """A step of what is trained does the same as a step of the whole model."""
    workplace.after(bottleneck)
    photos, labels = images.validation_generator(workplace.data / "train", SMALL, 20)[0]
    kernels = []
    for split in False, True:
        base = vgg16.convolutional_base("random", SMALL)
        model = finetune.build_model(base, workplace.weights / MODELS[bottleneck])
        frozen, trained = finetune.split(model)
        (dropout,) = [v for v in model.variables if v.name == "seed_generator_state"]
        dropout.assign([1, 0])
        stepping = trained if split else model
        stepping.compile(loss="binary_crossentropy", optimizer=keras.optimizers.SGD(0.1))
        stepping.train_on_batch(frozen.predict_on_batch(photos) if split else photos, labels)
        kernels.append([weight.numpy() for weight in model.weights])
    before = vgg16.convolutional_base("random", SMALL).get_layer("block5_conv1").kernel.numpy()
    moved = [k for k in kernels[1] if k.shape == before.shape and not np.array_equal(k, before)]
    assert moved
    for whole, split in zip(*kernels, strict=True):
        np.testing.assert_allclose(split, whole, rtol=1e-4, atol=1e-6)


def test_only_the_last_block_and_the_classifier_train(workplace):
    workplace.after(finetune)
    base = vgg16.convolutional_base("random", SMALL)
    model = finetune.build_model(base, workplace.weights / MODELS[bottleneck])
    start = [layer.get_weights() for layer in model.layers]
    model.load_weights(workplace.weights / MODELS[finetune])
    changed = [
        layer.name
        for layer, before in zip(model.layers, start, strict=True)
        if not all(map(np.array_equal, layer.get_weights(), before))
    ]
    assert changed == ["block5_conv1", "block5_conv2", "block5_conv3", model.layers[-1].name]
    trainable = [weight.path.split("/")[-2] for weight in model.trainable_weights]
    assert trainable[:6] == [name for name in changed[:3] for _ in range(2)]
    assert len(trainable) == 10  # and kernel and bias of two dense layers


def test_a_saved_model_tells_how_to_use_it(workplace):
    workplace.after(scratch)
    model, record = stored_model(workplace.weights / MODELS[scratch])
    generator = images.validation_generator(workplace.data / "validation", SMALL, 4)

    def pixels(path):  # as in weights/README.md
        picture = Image.open(path)
        sizes = zip((picture.height, picture.width), record["image_size"], strict=True)
        rows, columns = (
            np.cumsum([0] + [size / target] * (target - 1)).astype(int) for size, target in sizes
        )
        rescale = np.float32(record["preprocessing"]["rescale"])
        return np.asarray(picture)[rows[:, None], columns] * rescale

    photos = np.stack([pixels(path) for path in generator.filepaths])
    answers = model.predict(photos, verbose=0)[:, 0]
    right = (answers > 0.5) == (generator.classes == record["class_indices"]["dogs"])
    assert right.mean() == pytest.approx(record["val_accuracy"])


def test_features_are_made_once_but_never_used_stale(workplace, data, monkeypatch, capsys):
    def made(*options):
        assert workplace.status(bottleneck, "--batch-size", 8, *options) == 130
        out = capsys.readouterr().out
        return [f"bottleneck_features_{s}.npy" not in out for s in ("train", "validation")]

    monkeypatch.setattr(runs.Run, "resume", interrupt)  # there are the features
    workplace.data = data
    assert made() == [True, True]
    assert made("--seed", 1, "--batch-size", 32) == [False, False]
    shutil.copy(data / "validation/cats/cat.0.jpg", data / "validation/cats/cat.1.jpg")
    assert made() == [False, True]
    features = workplace.weights / "bottleneck_features_train.npy"
    features.write_bytes(features.read_bytes()[:-8] + b"12345678")
    assert made() == [True, False]


def test_finetune_refuses_another_top_model(workplace, data, tmp_path, monkeypatch):
    def error(*options):
        return workplace.error(finetune, "--seed", 3, *options)

    workplace.data = data
    assert "make bottleneck" in error()  # there is none yet
    workplace.after(bottleneck)
    line = error("--seed", 1)
    assert "not of the same seed; run `python scripts/bottleneck.py" in line
    assert "not of the same recipe" in error("--as-printed")
    assert "not of the same precision" in error("--precision", "mixed_bfloat16")
    photo = (data / "train/cats/cat.0.jpg").rename(tmp_path / "cat.0.jpg")
    assert "not of the same photos" in error()
    photo.rename(data / "train/cats/cat.0.jpg")
    other = tmp_path / "other.weights.h5"
    small.small_vgg16(False, None, (*SMALL, 3)).save_weights(other)
    assert workplace.status(finetune, "--seed", 3, "--vgg16-weights", other) == 2
    assert "other VGG16 weights" in workplace.capsys.readouterr().err
    with monkeypatch.context() as patch:
        patch.setattr(finetune, "IMAGE_SIZE", (64, 64))
        assert "not of the same image size" in error()
    (workplace.weights / MODELS[bottleneck]).write_bytes(b"404 not found")
    assert "not a model of this repository" in error()
    assert len(workplace.records()) == 1
    assert not (workplace.weights / MODELS[finetune]).exists()


def test_errors_leave_earlier_outputs_alone(workplace, data):
    workplace.data = data
    workplace.after(scratch)
    before = files.sha256(workplace.weights / MODELS[scratch])
    (data / "train/cats/cat.0.jpg").write_bytes(b"GIF89a?")
    assert "cat.0.jpg" in workplace.error(scratch, "--epochs", 1)
    assert files.sha256(workplace.weights / MODELS[scratch]) == before
    assert len(workplace.records()) == 1


def test_unusable_folders_and_records_are_found_before_training(workplace, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    message = workplace.error(scratch, "--weights", tmp_path / "file" / "below")
    assert "can't write there" in message
    workplace.weights.mkdir()
    lines = [json.dumps(example("scratch", 0.8)), '{"run": ']
    (workplace.weights / "runs.jsonl").write_text("\n".join(lines) + "\n")
    assert "runs.jsonl, line 2: no record" in workplace.error(scratch)


def test_no_git_is_no_obstacle(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert runs.commit() is None


def test_refused_weights_are_not_remembered(workplace, tmp_path):
    wrong = tmp_path / "wrong.h5"
    wrong.write_bytes(b"404 not found")
    line = workplace.error(bottleneck, "--vgg16-weights", wrong)
    assert "wrong.h5: not the weights" in line
    assert not (workplace.weights / folders.VGG16).is_symlink()


KILLED = """
begin = runs.Run.on_epoch_begin
def on_epoch_begin(self, epoch, logs=None):
    begin(self, epoch, logs)
    if epoch == 2:
        os.kill(os.getpid(), signal.SIGKILL)
runs.Run.on_epoch_begin = on_epoch_begin
"""


@pytest.mark.parametrize("script", EXPERIMENTS)
def test_a_killed_training_resumes_and_ends_the_same(workplace, starter, script):
    uninterrupted = workplace.after(script)
    records = len(workplace.records())
    vgg = [] if script is scratch else ["--vgg16-weights", "random"]
    options = [*workplace.folders, *vgg, *SETTINGS, "--precision", "float32"]
    status, _, said = starter(script.__name__, *options, code=KILLED)
    assert status == -signal.SIGKILL, said
    assert len(workplace.records()) == records
    resumed = workplace.run(script, *SETTINGS)
    assert "Resuming after epoch 2 of 4" in workplace.capsys.readouterr().out
    assert len(workplace.records()) == records + 1
    same_history(resumed, uninterrupted)
    assert list((workplace.weights / "checkpoints").iterdir()) == []


# The script ends while a thread of TensorFlow's reads the next batch.
ENDED = """
read = transform.PhotoIterator._get_batches_of_transformed_samples
def slowly(*arguments):
    time.sleep(0.5)
    return read(*arguments)
transform.PhotoIterator._get_batches_of_transformed_samples = slowly
def on_train_batch_end(self, batch, logs):
    {ending}
runs.Run.on_train_batch_end = on_train_batch_end
"""


@pytest.mark.parametrize(
    "ending, status, said",
    [
        ("os.kill(os.getpid(), signal.SIGINT)", 130, "run the same command again"),
        ("raise OSError('the disk is full')", 2, "the disk is full"),
        ("raise RuntimeError('a mistake')", 1, "Traceback"),
    ],
)
def test_an_interrupted_epoch_ends_the_process(workplace, starter, ending, status, said):
    options = [*workplace.folders, "--batch-size", 2]
    ended, _, output = starter("scratch", *options, code=ENDED.format(ending=ending))
    assert ended == status, output
    assert said in output


@pytest.mark.parametrize("module, function", [(files, "write_json"), (networks, "save_model")])
def test_interrupted_while_saving(workplace, monkeypatch, capsys, module, function):
    """Ctrl-C between the checkpoint's two files, and between the record and the model."""
    uninterrupted = workplace.after(scratch)
    save, calls = getattr(module, function), []

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) == (2 if function == "write_json" else 1):
            raise KeyboardInterrupt
        save(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(module, function, interrupted)
        assert workplace.status(scratch, *SETTINGS) == 130
    assert "run the same command again" in capsys.readouterr().err
    resumed = workplace.run(scratch, *SETTINGS)
    assert len(workplace.records()) == 2
    same_history(resumed, uninterrupted)
    assert len(resumed["seconds_per_epoch"]) == 4


def test_checkpoints_are_for_their_settings_and_broken_ones_refused(workplace, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        patch.setattr(networks, "save_model", interrupt)
        assert workplace.status(scratch, "--epochs", 1) == 130
    (path,) = workplace.weights.glob("checkpoints/*/state.json")
    workplace.run(scratch, "--epochs", 1, "--seed", 1)
    assert "Resuming" not in capsys.readouterr().out
    state = path.read_text()
    path.write_text("{")
    assert f"{path.parent}: can't resume from there" in workplace.error(scratch, "--epochs", 1)
    path.write_text(state)
    workplace.run(scratch, "--epochs", 1)
    assert "Resuming after epoch 1 of 1" in capsys.readouterr().out
    assert [record["seed"] for record in workplace.records()] == [1, 0]
