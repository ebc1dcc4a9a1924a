"""Measure the experiments against a plain port of the article's scripts, on this machine.

Each part runs the plain port (scripts/plain.py) and the experiment in turn, each in a
process of its own, and takes the ratio pair by pair. Takes most of an hour on two cores,
during which the machine should have nothing else to do. At the end the figures are written
to weights/bench.json, beside those of other processors and precisions, and printed as a
table. Interrupted, it goes on after the last whole part when started again. With parts
named, only these are measured, and replace those of the same kind of machine.

With ONEDNN_MAX_CPU_ISA=AVX2 in the environment and --precision float32, an older processor
is emulated, and the record says so.
"""

import concurrent.futures
import contextlib
import json
import multiprocessing
import os
import resource
import runpy
import statistics
import sys
import tempfile
import time
from concurrent.futures.process import BrokenProcessPool
from datetime import UTC, datetime
from pathlib import Path

from tqdm import tqdm

from common import cli, files, fingerprints, tables
from common.cli import InputError


RECIPE = "constants"  # the plain port's: what 2016 meant, as far as Keras's own options go
PAIRS = 3
# Training photos of a pair; a plain epoch of fine-tuning takes minutes with 2,000 of them.
PHOTOS = {"loader": 2000, "scratch": 2000, "features": 1000, "finetune": 500}
VALIDATION = 0.4  # validation photos for each training photo of a pair, as in the article
GROWTH = (500, 2000, 8000)  # training photos
# The last of these is counted: the first includes the compilation.
EPOCHS = {"scratch": 3, "finetune": 2}
MATRICES = (1024, 2048, 4096)  # rows and columns, for the peak of matrix multiplication
SIDES = ("plain", "ours")
PARTS = ("loader", "scratch", "features", "finetune", "vgg16", "growth")

EMULATED = os.environ.get("ONEDNN_MAX_CPU_ISA")  # the instructions that oneDNN is kept to


# What is measured. These functions run in processes of their own, which import TensorFlow;
# the process that starts them does not, and each tells its own peak of memory.


def measure_plain_loader(data):
    """Photos per second of Keras's generator, warm, on one core."""
    from common import plain

    return _photos_per_second(plain.flow(plain.training_datagen(), data / "train"))


def measure_loader(data):
    """Photos per second of ours, warm, on one core."""
    from common import images, plain, recipes

    augmentation = recipes.augmentation(
        RECIPE, shear_range=0.2, zoom_range=0.2, horizontal_flip=True
    )
    size = (data / "train", plain.IMAGE_SIZE, plain.BATCH_SIZE)
    generator = images.training_generator(*size, augmentation, recipes.preprocessing(RECIPE))
    return _photos_per_second(generator)


def _photos_per_second(generator):
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    for _ in range(2):  # the first warms up
        generator.on_epoch_end()
        start = time.perf_counter()
        for batch in range(len(generator)):
            generator[batch]
        seconds = time.perf_counter() - start
    return {"photos_per_second": generator.n / seconds, "seconds": seconds}


def measure_tf_data(data):
    """Photos per second of a cached tf.data pipeline with Keras's preprocessing layers."""
    from common import plain
    import tensorflow as tf
    from keras import layers

    augment = [
        layers.RandomFlip("horizontal"),
        layers.RandomShear(x_factor=0.2, y_factor=0.0, interpolation="nearest"),
        layers.RandomZoom(0.2, 0.2, fill_mode="nearest", interpolation="nearest"),
        layers.Rescaling(1.0 / 255),
    ]

    def transform(photos, labels):
        for layer in augment:
            photos = layer(photos, training=True)
        return photos, labels

    photos = tf.keras.utils.image_dataset_from_directory(
        data / "train", image_size=plain.IMAGE_SIZE, batch_size=None
    )
    batches = photos.cache().shuffle(2000).batch(plain.BATCH_SIZE)
    batches = batches.map(transform, num_parallel_calls=tf.data.AUTOTUNE).prefetch(2)
    rates = []
    for _ in range(1 + PAIRS):
        start = time.perf_counter()
        count = sum(len(labels) for _, labels in batches)
        rates.append(float(count) / (time.perf_counter() - start))
    return statistics.median(rates[1:])


class Clock:
    """Notes when the first step was done, and what the last epoch took."""

    def __init__(self, started):
        self.started = started
        self.result = {}

    def on_train_batch_end(self):
        self.result.setdefault("first_step", time.time() - self.started)

    def on_epoch_begin(self):
        self.before = self._spent()

    def on_epoch_end(self):
        spent = zip(self._spent(), self.before, strict=True)
        names = ("seconds", "user_seconds", "system_seconds", "page_faults")
        self.result |= {name: now - then for name, (now, then) in zip(names, spent, strict=True)}

    def _spent(self):
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return time.perf_counter(), usage.ru_utime, usage.ru_stime, usage.ru_minflt


def measure_plain_training(experiment, data, epochs, weights, started):
    """The plain port: its Clock's result."""
    import keras
    from common import plain
    from common import vgg16

    clock = Clock(started)
    if experiment == "scratch":
        model = plain.small_convnet()
    else:
        model = plain.fine_tuned_vgg16(vgg16.convolutional_base(weights, plain.IMAGE_SIZE))
    callback = keras.callbacks.Callback()
    callback.on_train_batch_end = lambda batch, logs=None: clock.on_train_batch_end()
    callback.on_epoch_begin = lambda epoch, logs=None: clock.on_epoch_begin()
    callback.on_epoch_end = lambda epoch, logs=None: clock.on_epoch_end()
    plain.train(model, data, epochs, [callback])
    return clock.result


def measure_training(experiment, data, epochs, weights, precision, folder, started):
    """An experiment's script: the same."""
    from common import runs

    clock = Clock(started)

    class TimedRun(runs.Run):
        def on_train_batch_end(self, batch, logs=None):
            clock.on_train_batch_end()

        def on_epoch_begin(self, epoch, logs=None):
            clock.on_epoch_begin()
            super().on_epoch_begin(epoch, logs)

        def on_epoch_end(self, epoch, logs=None):
            super().on_epoch_end(epoch, logs)
            clock.on_epoch_end()

    runs.Run = TimedRun
    options = ["--data", data, "--weights", folder, "--epochs", epochs]
    options += ["--precision", precision, "--recipe", RECIPE]
    if experiment == "finetune":
        options += ["--vgg16-weights", weights]
    run_script(experiment, options)
    return clock.result


def run_script(name, options):
    """Run one of the scripts with these options, in this process."""
    path = files.ROOT / "scripts" / f"{name}.py"
    sys.argv = [str(path), *map(str, options)]
    runpy.run_path(str(path), run_name="__main__")


def measure_plain_features(data, weights, folder):
    """The plain port: seconds from the folder of photos to the stored features."""
    from common import plain
    from common import vgg16

    base = vgg16.convolutional_base(weights, plain.IMAGE_SIZE)
    start = time.perf_counter()
    plain.save_features(base, data / "train", folder / "plain.npy")
    return {"seconds": time.perf_counter() - start}


def measure_features(data, weights, precision, folder):
    """bottleneck.py's way: the same, with the look at every photo that it takes first."""
    from common import features, images, plain, runs, vgg16

    runs.set_precision(precision)
    base = vgg16.convolutional_base(weights, plain.IMAGE_SIZE)
    start = time.perf_counter()
    generator = images.in_order_generator(data / "train", plain.IMAGE_SIZE, plain.BATCH_SIZE)
    generator.digests()
    path = folder / "ours.npy"
    path.unlink(missing_ok=True)
    features.save_bottleneck_features(base, generator, path, {"data": {"train": None}})
    return {"seconds": time.perf_counter() - start}


def measure_classifier(data, weights, precision, folder):
    """What fine-tuning starts from."""
    options = ["--data", data, "--weights", folder, "--epochs", 1]
    options += ["--vgg16-weights", weights, "--precision", precision, "--recipe", RECIPE]
    run_script("bottleneck", options)


def measure_vgg16(precision):
    """GFLOP/s of VGG16's forward pass, and of matrix multiplication, in one precision."""
    import keras
    import tensorflow as tf
    from common import plain, vgg16

    keras.config.set_dtype_policy(precision)
    dtype = keras.config.dtype_policy().compute_dtype

    def seconds(function, *arguments, times=8):
        function = tf.function(function)
        function(*arguments)
        timed = []
        for _ in range(times):
            start = time.perf_counter()
            function(*arguments)[:1, :1].numpy()  # a GPU answers before it is done
            timed.append(time.perf_counter() - start)
        return statistics.median(timed)

    peak = 0
    for size in MATRICES:
        a, b = (tf.cast(tf.random.normal((size, size)), dtype) for _ in range(2))
        peak = max(peak, 2 * size**3 / seconds(tf.matmul, a, b) / 1e9)
    base = vgg16.convolutional_base("random", plain.IMAGE_SIZE)
    gflop = 0
    for layer in base.layers:
        if isinstance(layer, keras.layers.Conv2D):
            _, height, width, filters = layer.output.shape
            gflop += 2 * height * width * filters * layer.kernel.shape[:3].num_elements() / 1e9
    photos = tf.random.uniform((plain.BATCH_SIZE, *plain.IMAGE_SIZE, 3))
    rate = plain.BATCH_SIZE / seconds(lambda x: base(x, training=False), photos)
    return {
        "photos_per_second": rate,
        "gflop_per_photo": gflop,
        "gflops": rate * gflop,
        "matmul_gflops": peak,
        "share_of_peak": rate * gflop / peak,
    }


def environment(given, precision, folder):
    """What a record says of the machine, and VGG16's weights; see folders.vgg16_weights()."""
    from common import folders, made, runs, vgg16

    _, of_vgg16 = vgg16.load(given, folder, (150, 150))
    return {
        "commit": runs.commit(),
        "versions": made.versions(),
        "hardware": runs.hardware(),
        "precision": precision or runs.fastest_precision(),
        **({"emulated": EMULATED} if EMULATED else {}),
        **of_vgg16,
    }, folders.vgg16_weights(given, folder)


def class_photos(data):
    """The photos' paths: {"train": {class: paths, ...}, "validation": ...}.

    Raises InputError where the experiments would, and for more than two classes.
    """
    from common import images

    photos = {}
    for split in "train", "validation":
        generator = images.in_order_generator(data / split, (150, 150), 32)
        generator.digests()
        if generator.num_classes != 2:
            raise InputError(f"{data / split}: the plain port is of the article's two classes only")
        photos[split] = {name: [] for name in generator.class_indices}
        names = list(generator.class_indices)
        for path, number in zip(generator.filepaths, generator.classes, strict=True):
            photos[split][names[number]].append(Path(path))
    return photos


def _quietly(function, arguments):
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        if function not in PLAIN:
            from common import backend  # noqa: F401  first, it sets Keras up
        elif EMULATED:  # as TensorFlow does by itself on a processor without AVX512
            os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
        result = function(*arguments)
    return result, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


# These run as they would without this repository: what backend.py sets is not for them.
PLAIN = (measure_plain_loader, measure_plain_training, measure_plain_features)


def in_its_own_process(function, *arguments):
    """The function's result, and the peak of resident memory in MiB of the process."""
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=spawn) as process:
        try:
            return process.submit(_quietly, function, arguments).result()
        except BrokenProcessPool as error:
            raise InputError(
                f"{function.__name__}: its process was killed; if that was for want of memory "
                "(`dmesg` tells), close other programs and run the same command again"
            ) from error


# How it is put together.


def few(photos, train, validation, folder):
    """A data folder with links to so many photos; where there are fewer, they come again.

    photos: what class_photos() returned.
    """
    for split, count in ("train", train), ("validation", validation):
        for name, there in photos[split].items():
            target = folder / split / name
            target.mkdir(parents=True)
            for number in range(count // 2):
                photo = there[number % len(there)]
                (target / f"{number}-{photo.name}").symlink_to(photo.resolve())
    return folder


def pair(part, data, weights, precision, folder):
    """One pair of measurements of the plain port and ours, with their ratio."""
    folder = Path(tempfile.mkdtemp(dir=folder))
    if part == "loader":
        calls = {"plain": (measure_plain_loader, data), "ours": (measure_loader, data)}
    elif part == "features":
        calls = {
            "plain": (measure_plain_features, data, weights, folder),
            "ours": (measure_features, data, weights, precision, folder),
        }
    else:
        if part == "finetune":
            in_its_own_process(measure_classifier, data, weights, precision, folder)
        what = (part, data, EPOCHS[part], weights)
        calls = {
            "plain": (measure_plain_training, *what),
            "ours": (measure_training, *what, precision, folder),
        }
    result = {}
    for side, (function, *arguments) in calls.items():
        if part in EPOCHS:
            arguments.append(time.time())
        result[side], peak = in_its_own_process(function, *arguments)
        result[side]["peak_mib"] = round(peak)
    result["ratio"] = result["plain"]["seconds"] / result["ours"]["seconds"]
    return result


def growth(photos, weights, precision, folder):
    """Ours alone with more and more photos: seconds of an epoch, or of all of bottleneck.py."""
    rows = []
    for count in GROWTH:
        there = few(photos, count, count // 10, folder / f"growth-{count}")
        place = Path(tempfile.mkdtemp(dir=folder))
        # The first epoch includes the compilation, which is little among the most photos.
        epochs = 1 if count == max(GROWTH) else 2
        for experiment in "scratch", "bottleneck", "finetune":
            start = time.perf_counter()
            if experiment == "bottleneck":
                _, peak = in_its_own_process(measure_classifier, there, weights, precision, place)
                seconds = time.perf_counter() - start
            else:
                arguments = (experiment, there, epochs, weights, precision, place, time.time())
                result, peak = in_its_own_process(measure_training, *arguments)
                seconds = result["seconds"]
            row = {"experiment": experiment, "photos": count, "seconds": seconds}
            rows.append({**row, "peak_mib": round(peak)})
    return rows


def _now():
    return datetime.now(UTC).isoformat(timespec="seconds")


def parse(argv=None):
    """The command line's options, or those of `argv`."""
    parser = cli.ArgumentParser(__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)} (all)")
    parser.add_argument("--show", action="store_true", help="only print the last table again")
    parser.add_argument(
        "--data",
        type=cli.path,
        default=files.ROOT / "data",
        metavar="FOLDER",
        help="folder with train/CLASS/ and validation/CLASS/ (default: data)",
    )
    parser.add_argument("--vgg16-weights", metavar="FILE", help="as for the experiments")
    parser.add_argument(
        "--precision",
        choices=("float32", "mixed_bfloat16"),
        help="of ours (default: what the processor does best); the plain port is in float32",
    )
    parser.add_argument(
        "--output",
        type=cli.path,
        default=files.ROOT / "weights" / "bench.json",
        metavar="FILE",
        help="where the figures go (default: weights/bench.json)",
    )
    return parser.parse_args(argv)


def main(arguments):
    """Run the script with the options that parse() returned."""
    if arguments.show:
        if not arguments.output.exists():
            raise InputError(f"{arguments.output}: no such file; run `make bench`")
        print(tables.speed(json.loads(arguments.output.read_text())))
        return
    parts = arguments.parts or PARTS
    for part in parts:
        if part not in PARTS:
            raise InputError(f"{part}: no such part; there are {', '.join(PARTS)}")
    photos, _ = in_its_own_process(class_photos, arguments.data)
    files.make_writable_folder(arguments.output.parent)
    (about, weights), _ = in_its_own_process(
        environment,
        arguments.vgg16_weights,
        arguments.precision or ("float32" if EMULATED else None),
        files.ROOT / "weights",
    )
    precision = about["precision"]
    about["data"] = str(arguments.data.resolve())  # an unfinished run's; not for the record
    trained_on = [
        (f"{name}/{path.name}", files.sha256(path))
        for name, paths in photos["train"].items()
        for path in paths
    ]
    about["photos_sha256"] = fingerprints.data_set_digest(*zip(*trained_on, strict=True))
    bench = {**about, "started": _now()}
    unfinished = arguments.output.with_name(f".partial-{arguments.output.name}")
    if unfinished.exists():
        earlier = json.loads(unfinished.read_text())
        if all(earlier.get(name) == value for name, value in about.items()):
            bench = earlier
    with tempfile.TemporaryDirectory() as folder, tqdm(parts, unit="part") as progress:
        folder = Path(folder)
        for part in progress:
            if part in bench:
                continue
            progress.set_description(part)
            if part == "vgg16":
                bench[part] = {
                    precision: in_its_own_process(measure_vgg16, precision)[0]
                    for precision in dict.fromkeys(["float32", precision])
                }
            elif part == "growth":
                bench[part] = growth(photos, weights, precision, folder)
            else:
                data = few(photos, PHOTOS[part], round(PHOTOS[part] * VALIDATION), folder / part)
                pairs = [pair(part, data, weights, precision, folder) for _ in range(PAIRS)]
                bench[part] = {"photos": PHOTOS[part], "pairs": pairs}
                bench[f"{part}_ratio"] = statistics.median(p["ratio"] for p in pairs)
                if part == "loader":
                    tf_data, _ = in_its_own_process(measure_tf_data, data)
                    bench["tf_data_photos_per_second"] = tf_data
            files.write_json(unfinished, bench)
    del bench["data"]
    bench["finished"] = _now()
    bench["commits"] = dict.fromkeys(parts, bench.pop("commit"))
    entries = json.loads(arguments.output.read_text()) if arguments.output.exists() else []
    others = [entry for entry in entries if tables.kind(entry) != tables.kind(bench)]
    for earlier in entries:
        if arguments.parts and tables.kind(earlier) == tables.kind(bench):
            bench["commits"] = earlier.get("commits", {}) | bench["commits"]
            bench = earlier | bench
    files.write_json(arguments.output, [*others, bench])
    unfinished.unlink()
    print(tables.speed([*others, bench]))


if __name__ == "__main__":
    cli.run(lambda: main(parse()), after_interrupt="run the same command again to go on")
