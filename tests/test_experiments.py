"""The three experiments, one after the other as a user runs them, on drawings and a small VGG16."""

import json
import os
import shutil
import signal

import bottleneck
from common import files, folders
import finetune
import h5py
from common import images
import keras
from common import keras2016
import numpy as np
import pytest
from common import recipes, records, runs
import scratch
from common import features, networks, vgg16
from common.cli import InputError
from conftest import SIZES, SMALL, example
from PIL import Image

EXPERIMENTS = [scratch, bottleneck, finetune]


def same_history(one, other):
    assert one["history"].keys() == other["history"].keys()
    for name, values in one["history"].items():
        np.testing.assert_allclose(values, other["history"][name], rtol=1e-4, atol=1e-5)


def test_the_article_from_top_to_bottom(workplace):
    for script, name in [
        (scratch, "first_try.weights.h5"),
        (bottleneck, "bottleneck_fc_model.weights.h5"),
        (finetune, "fine_tuned.weights.h5"),
    ]:
        record = workplace.run(script, "--epochs", 2, "--batch-size", 8, "--seed", 3)
        assert (workplace.weights / name).exists()
        assert record["experiment"] == script.__name__
        assert (record["recipe"], record["seed"], record["epochs"]) == ("faithful", 3, 2)
        assert record["batch_size"] == 8
        assert record["class_indices"] == {"cats": 0, "dogs": 1}
        assert record["data"]["train"]["photos"] == 20
        assert record["data"]["validation"]["photos"] == 12
        for metric in "loss", "accuracy", "val_loss", "val_accuracy":
            assert len(record["history"][metric]) == 2
        assert record["val_accuracy"] == record["history"]["val_accuracy"][-1]
        right = (np.array(record["val_probabilities"]) > 0.5) == ([False] * 6 + [True] * 6)
        assert right.mean() == pytest.approx(record["val_accuracy"])
        assert len(record["seconds_per_epoch"]) == 2
        assert record["versions"]["keras"] == keras.__version__
        assert 1 <= record["hardware"]["cores"] <= os.cpu_count()
    assert len(workplace.records()) == 3
    left = {path.name for path in workplace.weights.iterdir()}
    assert left == {
        "first_try.weights.h5",
        "bottleneck_features_train.npy",
        "bottleneck_features_train.json",
        "bottleneck_features_validation.npy",
        "bottleneck_features_validation.json",
        "frozen_features_validation.npy",
        "frozen_features_validation.json",
        "bottleneck_fc_model.weights.h5",
        "fine_tuned.weights.h5",
        "checkpoints",
        "photos.txt",
        "runs.jsonl",
        ".lock",
        ".listing.json",
    }
    assert list((workplace.weights / "checkpoints").iterdir()) == []


def test_recipes(workplace):
    faithful = workplace.run(scratch, "--epochs", 1)
    printed = workplace.run(scratch, "--epochs", 1, "--as-printed")
    assert faithful["augmentation"]["shear_range"] == pytest.approx(np.degrees(0.2))
    assert faithful["augmentation"]["interpolation_order"] == 0
    assert faithful["optimizer"]["epsilon"] == 1e-8
    assert faithful["optimizer"]["denominator"] == "sqrt(a) + epsilon"
    assert faithful["loss"] == "of clipped probabilities"
    assert faithful["preprocessing"]["interpolation"] == "nearest-2016"
    assert printed["preprocessing"]["interpolation"] == "nearest"
    assert "loss" not in printed and "denominator" not in printed["optimizer"]
    assert printed["augmentation"]["shear_range"] == 0.2
    assert printed["augmentation"]["interpolation_order"] == 1
    assert printed["optimizer"]["epsilon"] == keras.optimizers.RMSprop().epsilon
    assert [faithful["recipe"], printed["recipe"]] == ["faithful", "as-printed"]


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
        }

    printed = settings("as-printed")
    expected = {**settings("faithful"), change: printed[change]}
    assert settings(f"as-printed-{change}") == expected not in (printed, settings("faithful"))


def test_defaults_are_the_articles():
    for script in EXPERIMENTS:
        assert (script.EPOCHS, script.BATCH_SIZE, SIZES[script]) == (50, 32, (150, 150))


@pytest.mark.parametrize("recipe", ["faithful", "as-printed"])
@pytest.mark.parametrize("script", EXPERIMENTS)
def test_the_recipes_loss_and_optimizer_are_compiled(workplace, monkeypatch, script, recipe):
    if script is finetune:
        workplace.run(bottleneck, "--epochs", 1, "--recipe", recipe)
    models, resume = [], runs.Run.resume

    def note(self, model, train_generator):
        models.append(model)
        return resume(self, model, train_generator)

    monkeypatch.setattr(runs.Run, "resume", note)
    record = workplace.run(script, "--epochs", 1, "--recipe", recipe)
    of_2016 = recipe == "faithful"
    assert models[0].loss is keras2016.binary_crossentropy if of_2016 else "binary_crossentropy"
    assert ("loss" in record) == of_2016
    if script is not finetune:
        assert isinstance(models[0].optimizer, keras2016.RMSprop) == of_2016
    assert finetune.DROPOUT == bottleneck.DROPOUT


def test_small_convnet_has_the_articles_layers():
    model = scratch.build_model((150, 150))
    # 3·3·3·32+32, 3·3·32·32+32, 3·3·32·64+64, 17·17·64·64+64, 64+1
    assert model.count_params() == 896 + 9248 + 18496 + 1183808 + 65
    assert [layer.rate for layer in model.layers if hasattr(layer, "rate")] == [0.5]


def test_seeds_decide(workplace):
    one, same, other = (workplace.run(scratch, "--epochs", 1, "--seed", seed) for seed in (0, 0, 1))
    same_history(one, same)
    assert one["history"]["loss"] != other["history"]["loss"]
    assert one["run"] != same["run"]


def test_features_and_labels_belong_together(workplace):
    workplace.run(bottleneck, "--epochs", 1, "--batch-size", 7)
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
    workplace.run(bottleneck, "--epochs", 2)
    base = vgg16.convolutional_base("random", SMALL)
    path = workplace.weights / "bottleneck_fc_model.weights.h5"
    top = vgg16.build_top_model(base.output_shape[1:], 0.5)
    top.load_weights(path)
    expected = top.predict(
        np.load(workplace.weights / "bottleneck_features_validation.npy"), verbose=0
    )
    assembled = finetune.build_model(base, path)
    generator = images.in_order_generator(workplace.data / "validation", SMALL, 5)
    np.testing.assert_allclose(assembled.predict(generator, verbose=0), expected, atol=1e-5)


def test_precision(workplace, capsys):
    for precision in "float32", "mixed_bfloat16":
        for script, name in (
            (scratch, "first_try.weights.h5"),
            (bottleneck, "bottleneck_fc_model.weights.h5"),
            (finetune, "fine_tuned.weights.h5"),
        ):
            record = workplace.run(script, "--epochs", 1, "--precision", precision)
            assert record["precision"] == precision
            assert "Using the features" not in capsys.readouterr().out
            with h5py.File(workplace.weights / name) as file:
                architecture = file["about/architecture"][()].decode()
            assert ("mixed_bfloat16" in architecture) == (precision == "mixed_bfloat16")
    with h5py.File(workplace.weights / "fine_tuned.weights.h5") as file:
        types = set()
        file.visititems(lambda _, item: types.add(getattr(item, "dtype", None)))
    assert np.dtype("float32") in types and np.dtype("uint16") not in types
    features = np.load(workplace.weights / "bottleneck_features_train.npy")
    assert features.dtype == np.float32


def test_bfloat16_only_where_the_processor_multiplies_in_it(monkeypatch):
    monkeypatch.setattr(runs.tf.config, "list_physical_devices", lambda kind: [])
    for flags, policy in (
        ("fma avx512f", "float32"),
        ("fma avx512_bf16 avx512f", "mixed_bfloat16"),
        ("amx_bf16", "mixed_bfloat16"),
    ):
        monkeypatch.setattr(runs.Path, "read_text", lambda path, flags=flags: f"flags : {flags}\n")
        assert runs.fastest_precision() == policy
    monkeypatch.setattr(runs.tf.config, "list_physical_devices", lambda kind: ["GPU:0"])
    for capability, policy in ((7, 5), "float32"), ((8, 0), "mixed_bfloat16"):
        details = {"compute_capability": capability}
        monkeypatch.setattr(
            runs.tf.config.experimental, "get_device_details", lambda gpu, details=details: details
        )
        assert runs.fastest_precision() == policy


def test_fine_tuning_validates_the_whole_model(workplace):
    """Though validation photos go through the frozen layers only once."""
    workplace.run(bottleneck, "--epochs", 2)
    record = workplace.run(finetune, "--epochs", 2)
    path = workplace.weights / "fine_tuned.weights.h5"
    with h5py.File(path) as file:
        model = keras.models.model_from_json(file["about/architecture"][()])
    model.load_weights(path)
    model.compile(loss="binary_crossentropy", metrics=["accuracy"])
    photos = images.validation_generator(workplace.data / "validation", SMALL, 5)
    loss, accuracy = model.evaluate(photos, verbose=0)
    assert record["history"]["val_loss"][-1] == pytest.approx(loss, rel=1e-5)
    assert record["val_accuracy"] == pytest.approx(accuracy)


def test_fine_tuning_behind_the_frozen_layers_is_fine_tuning(workplace):
    """A step of what is trained does the same as a step of the whole model."""
    workplace.run(bottleneck, "--epochs", 1)
    photos, labels = images.validation_generator(workplace.data / "train", SMALL, 20)[0]
    kernels = []
    for split in False, True:
        base = vgg16.convolutional_base("random", SMALL)
        model = finetune.build_model(base, workplace.weights / "bottleneck_fc_model.weights.h5")
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
    workplace.run(bottleneck, "--epochs", 1)
    workplace.run(finetune, "--epochs", 1)
    start = finetune.build_model(
        vgg16.convolutional_base("random", SMALL),
        workplace.weights / "bottleneck_fc_model.weights.h5",
    )
    end = finetune.build_model(
        vgg16.convolutional_base("random", SMALL),
        workplace.weights / "bottleneck_fc_model.weights.h5",
    )
    end.load_weights(workplace.weights / "fine_tuned.weights.h5")
    changed = [
        layer.name
        for layer, trained in zip(start.layers, end.layers, strict=True)
        if any(
            not np.array_equal(a, b)
            for a, b in zip(layer.get_weights(), trained.get_weights(), strict=True)
        )
    ]
    assert changed == ["block5_conv1", "block5_conv2", "block5_conv3", start.layers[-1].name]
    trainable = [weight.path.split("/")[-2] for weight in start.trainable_weights]
    assert trainable[:6] == [name for name in changed[:3] for _ in range(2)]
    assert len(trainable) == 10  # and kernel and bias of two dense layers


def test_a_saved_model_tells_how_to_use_it(workplace):
    workplace.run(scratch, "--epochs", 1)
    path = workplace.weights / "first_try.weights.h5"
    with h5py.File(path) as file:
        model = keras.models.model_from_json(file["about/architecture"][()])
        record = json.loads(file["about/record"][()])
    model.load_weights(path)
    generator = images.validation_generator(workplace.data / "validation", SMALL, 4)
    rescale = record["preprocessing"]["rescale"]
    right = 0
    for photo, label in zip(generator.filepaths, generator.classes, strict=True):
        picture = Image.open(photo)
        sizes = zip((picture.height, picture.width), record["image_size"], strict=True)
        rows, columns = (  # as in weights/README.md
            np.cumsum([0] + [size / target] * (target - 1)).astype(int) for size, target in sizes
        )
        pixels = np.asarray(picture)[rows[:, None], columns] * np.float32(rescale)
        probability = model.predict(pixels[None], verbose=0)
        right += (probability[0, 0] > 0.5) == (label == record["class_indices"]["dogs"])
    assert right / len(generator.classes) == pytest.approx(record["val_accuracy"])


def test_features_are_made_once_but_never_used_stale(workplace, data, capsys):
    def made():
        out = capsys.readouterr().out
        return [f"bottleneck_features_{s}.npy" not in out for s in ("train", "validation")]

    workplace.data = data
    workplace.run(bottleneck, "--epochs", 1)
    assert made() == [True, True]
    workplace.run(bottleneck, "--epochs", 1, "--seed", 1)
    assert made() == [False, False]
    shutil.copy(data / "validation/cats/cat.0.jpg", data / "validation/cats/cat.1.jpg")
    workplace.run(bottleneck, "--epochs", 1)
    assert made() == [False, True]
    features = workplace.weights / "bottleneck_features_train.npy"
    features.write_bytes(features.read_bytes()[:-8] + b"12345678")
    workplace.run(bottleneck, "--epochs", 1)
    assert made() == [True, False]


def test_finetune_refuses_another_top_model(workplace, data, tmp_path, monkeypatch):
    workplace.data = data
    assert "make bottleneck" in workplace.error(finetune)  # there is none yet
    workplace.run(bottleneck, "--epochs", 1)
    assert "not of the same seed; run `python scripts/bottleneck.py" in workplace.error(
        finetune, "--seed", 1
    )
    assert "not of the same recipe" in workplace.error(finetune, "--as-printed")
    other = ("--precision", "mixed_bfloat16")
    assert "not of the same precision" in workplace.error(finetune, *other)
    photo = (data / "train/cats/cat.0.jpg").rename(tmp_path / "cat.0.jpg")
    assert "not of the same photos" in workplace.error(finetune)
    photo.rename(data / "train/cats/cat.0.jpg")
    other = tmp_path / "other.weights.h5"
    keras.applications.VGG16(include_top=False, weights=None, input_shape=(*SMALL, 3)).save_weights(
        other
    )
    workplace.capsys.readouterr()
    assert workplace.status(finetune, "--vgg16-weights", other) == 2
    assert "other VGG16 weights" in workplace.capsys.readouterr().err
    monkeypatch.setattr(finetune, "IMAGE_SIZE", (64, 64))
    assert "not of the same image size" in workplace.error(finetune)
    monkeypatch.setattr(finetune, "IMAGE_SIZE", SMALL)
    top = workplace.weights / "bottleneck_fc_model.weights.h5"
    top.write_bytes(b"404 not found")
    assert "not a model of this repository" in workplace.error(finetune)
    assert len(workplace.records()) == 1
    assert not (workplace.weights / "fine_tuned.weights.h5").exists()


def test_errors_leave_earlier_outputs_alone(workplace, data):
    workplace.data = data
    workplace.run(scratch, "--epochs", 1)
    before = files.sha256(workplace.weights / "first_try.weights.h5")
    (data / "train/cats/cat.0.jpg").write_bytes(b"GIF89a?")
    assert "cat.0.jpg" in workplace.error(scratch, "--epochs", 1)
    assert files.sha256(workplace.weights / "first_try.weights.h5") == before
    assert len(workplace.records()) == 1


def test_unwritable_folders_are_found_before_training(workplace, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    message = workplace.error(scratch, "--weights", tmp_path / "file" / "below")
    assert "can't write there" in message


def test_a_broken_record_file_is_found_before_training(workplace):
    workplace.weights.mkdir()
    lines = [json.dumps(example("scratch", 0.8)), '{"run": ']
    (workplace.weights / "runs.jsonl").write_text("\n".join(lines) + "\n")
    assert "runs.jsonl, line 2: no record" in workplace.error(scratch)


def test_a_record_is_whole_or_absent(tmp_path, monkeypatch):
    path = tmp_path / "runs.jsonl"
    records.append(path, example("scratch", 0.8))

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(records.os, "fsync", full)
    with pytest.raises(InputError, match=r"runs\.jsonl: can't be written"):
        records.append(path, example("scratch", 0.7))
    assert records.read(path) == [example("scratch", 0.8)]


def test_no_git_is_no_obstacle(workplace, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert workplace.run(scratch, "--epochs", 1)["commit"] is None


def test_refused_weights_are_not_remembered(workplace, tmp_path):
    (tmp_path / "wrong.h5").write_bytes(b"404 not found")
    assert "wrong.h5: not the weights" in workplace.error(
        bottleneck, "--vgg16-weights", tmp_path / "wrong.h5"
    )
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
def test_killed_training_goes_on_and_ends_alike(workplace, starter, script, capsys):
    if script is finetune:
        workplace.run(bottleneck, "--epochs", 1)
    uninterrupted = workplace.run(script, "--epochs", 4)
    vgg = [] if script is scratch else ["--vgg16-weights", "random"]
    options = [*workplace.folders, *vgg, "--epochs", 4, "--precision", "float32"]
    status, _, said = starter(script.__name__, *options, code=KILLED)
    assert status == -signal.SIGKILL, said
    records = len(workplace.records())
    capsys.readouterr()
    resumed = workplace.run(script, "--epochs", 4)
    assert "Resuming after epoch 2 of 4" in capsys.readouterr().out
    assert len(workplace.records()) == records + 1
    same_history(resumed, uninterrupted)
    assert list((workplace.weights / "checkpoints").iterdir()) == []


# The script is ended while a thread of TensorFlow's reads the next batch.
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
    uninterrupted = workplace.run(scratch, "--epochs", 2)
    save, calls = getattr(module, function), []

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) == (2 if function == "write_json" else 1):
            raise KeyboardInterrupt
        save(*arguments)

    monkeypatch.setattr(module, function, interrupted)
    assert workplace.status(scratch, "--epochs", 2) == 130
    assert "run the same command again" in capsys.readouterr().err
    monkeypatch.setattr(module, function, save)
    resumed = workplace.run(scratch, "--epochs", 2)
    assert len(workplace.records()) == 2
    same_history(resumed, uninterrupted)
    assert len(resumed["seconds_per_epoch"]) == 2


def test_other_settings_do_not_resume(workplace, monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    save = runs.Run.save
    monkeypatch.setattr(runs.Run, "save", interrupted)
    assert workplace.status(scratch, "--epochs", 1) == 130
    monkeypatch.setattr(runs.Run, "save", save)
    workplace.run(scratch, "--epochs", 1, "--seed", 1)
    assert "Resuming" not in capsys.readouterr().out
    workplace.run(scratch, "--epochs", 1)
    assert "Resuming after epoch 1 of 1" in capsys.readouterr().out
    assert [record["seed"] for record in workplace.records()] == [1, 0]


def test_a_spoilt_checkpoint_is_named(workplace, monkeypatch):
    monkeypatch.setattr(networks, "save_model", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    assert workplace.status(scratch, "--epochs", 1) == 130
    (state,) = workplace.weights.glob("checkpoints/*/state.json")
    state.write_text("{")
    assert f"{state.parent}: can't resume from there" in workplace.error(scratch, "--epochs", 1)
