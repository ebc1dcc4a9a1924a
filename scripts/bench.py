"""Measure the experiments against a plain port of the article's scripts, on this machine.

Each part runs the plain port (scripts/common/plain.py) and the experiment in turn, each in
a process of its own, and takes the ratio pair by pair. Takes most of an hour on two cores,
during which the machine should have nothing else to do. At the end the figures are written
to weights/bench.json, beside those of other processors and precisions, and printed as a
table. Interrupted, it resumes after the last complete part when you rerun the command. With
parts named, only these are measured, and replace those of the same kind of machine.

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

from common import cli, files, fingerprints, folders, parsers, tables
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
PARTS = ("loader", "scratch", "features", "finetune", "vgg16", "growth")

EMULATED = os.environ.get("ONEDNN_MAX_CPU_ISA")  # the instructions that oneDNN is kept to


# What is measured. These functions run in processes of their own, which import TensorFlow;
# the process that starts them does not. Those of the plain port run as they would without
# this repository.


def plain_loader(data):
    """Photos per second of Keras's generator, warm, on one core."""
    from common import plain

    return _photos_per_second(plain.flow(plain.training_datagen(), data / "train"))


def our_loader(data):
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


def clock(started):
    """Have fit() note when its first step was done, and what its last epoch took.

    Returns the dict in which it notes them.
    """
    import keras

    result, before, fit = {}, {}, keras.Model.fit

    def spent():
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return {
            "seconds": time.perf_counter(),
            "user_seconds": usage.ru_utime,
            "system_seconds": usage.ru_stime,
            "page_faults": usage.ru_minflt,
        }

    class Clock(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            result.setdefault("first_step", time.time() - started)

        def on_epoch_begin(self, epoch, logs=None):
            before.update(spent())

        def on_epoch_end(self, epoch, logs=None):
            result.update({name: now - before[name] for name, now in spent().items()})

    def clocked(model, *arguments, callbacks=(), **options):
        return fit(model, *arguments, callbacks=[*callbacks, Clock()], **options)

    keras.Model.fit = clocked
    return result


def plain_training(experiment, data, weights, epochs, started):
    """The plain port: what clock() notes."""
    from common import plain, vgg16

    result = clock(started)
    if experiment == "scratch":
        model = plain.small_convnet()
    else:
        model = plain.fine_tuned_vgg16(vgg16.convolutional_base(weights, plain.IMAGE_SIZE))
    plain.train(model, data, epochs)
    return result


def our_training(experiment, data, weights, precision, folder, epochs, started):
    """An experiment's script: the same."""
    result = clock(started)
    options = ["--data", data, "--weights", folder, "--epochs", epochs]
    options += ["--precision", precision, "--recipe", RECIPE]
    if experiment != "scratch":
        options += ["--vgg16-weights", weights]
    path = files.ROOT / "scripts" / f"{experiment}.py"
    sys.argv = [str(path), *map(str, options)]
    runpy.run_path(str(path), run_name="__main__")
    return result


def plain_features(data, weights, folder):
    """The plain port: seconds from the folder of photos to the stored features."""
    from common import plain, vgg16

    base = vgg16.convolutional_base(weights, plain.IMAGE_SIZE)
    start = time.perf_counter()
    plain.save_features(base, data / "train", folder / "plain.npy")
    return {"seconds": time.perf_counter() - start}


def our_features(data, weights, precision, folder):
    """bottleneck.py's way: the same, with the check of every photo that comes first."""
    from common import features, images, plain, runs, vgg16

    runs.set_precision(precision)
    base = vgg16.convolutional_base(weights, plain.IMAGE_SIZE)
    start = time.perf_counter()
    generator = images.in_order_generator(data / "train", plain.IMAGE_SIZE, plain.BATCH_SIZE)
    generator.digests()
    settings = {"data": {"train": None}}
    features.save_bottleneck_features(base, generator, folder / "ours.npy", settings)
    return {"seconds": time.perf_counter() - start}


def our_vgg16(precision):
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
    from common import made, runs, vgg16

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
    from common import images, parts

    photos = {}
    for split in "train", "validation":
        generator = images.in_order_generator(data / split, (150, 150), 32)
        generator.digests()
        if generator.num_classes != 2:
            raise InputError(f"{data / split}: the plain port is of the article's two classes only")
        by_class = parts.photos_by_class(generator)
        photos[split] = {name: [p for _, p in of_class] for name, of_class in by_class.items()}
    return photos


def _quietly(function, arguments):
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        if not function.__name__.startswith("plain"):
            from common import backend  # noqa: F401  first, it sets Keras up
        elif EMULATED:  # as TensorFlow does by itself on a processor without AVX512
            os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
        result = function(*arguments)
    return result, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def in_its_own_process(function, *arguments):
    """The function's result, and the peak of resident memory in MiB of the process."""
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=spawn) as process:
        try:
            return process.submit(_quietly, function, arguments).result()
        except BrokenProcessPool as error:
            raise InputError(
                f"{function.__name__}: its process was killed; if it ran out of memory (`dmesg` "
                "tells), close other programs and rerun the command"
            ) from error


# How it is put together.


def link_photos(photos, train, validation, folder):
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
        calls = {"plain": (plain_loader, data), "ours": (our_loader, data)}
    elif part == "features":
        common = (data, weights)
        calls = {
            "plain": (plain_features, *common, folder),
            "ours": (our_features, *common, precision, folder),
        }
    else:
        common = (part, data, weights)
        if part == "finetune":  # what it starts from
            start = ("bottleneck", data, weights, precision, folder, 1, 0)
            in_its_own_process(our_training, *start)
        calls = {
            "plain": (plain_training, *common, EPOCHS[part]),
            "ours": (our_training, *common, precision, folder, EPOCHS[part]),
        }
    result = {}
    for side, call in calls.items():
        started = [time.time()] if part in EPOCHS else []
        result[side], peak = in_its_own_process(*call, *started)
        result[side]["peak_mib"] = round(peak)
    result["ratio"] = result["plain"]["seconds"] / result["ours"]["seconds"]
    return result


def growth(photos, weights, precision, folder):
    """Ours alone with more and more photos: seconds of an epoch, or of all of bottleneck.py."""
    rows = []
    for count in GROWTH:
        there = link_photos(photos, count, count // 10, folder / f"growth-{count}")
        place = Path(tempfile.mkdtemp(dir=folder))
        # The first epoch includes the compilation, which is little among the most photos.
        epochs = 1 if count == max(GROWTH) else 2
        for experiment in "scratch", "bottleneck", "finetune":
            start = time.time()
            call = (experiment, there, weights, precision, place)
            steps = (1 if experiment == "bottleneck" else epochs, start)
            result, peak = in_its_own_process(our_training, *call, *steps)
            seconds = time.time() - start if experiment == "bottleneck" else result["seconds"]
            row = {"experiment": experiment, "photos": count, "seconds": seconds}
            rows.append({**row, "peak_mib": round(peak)})
    return rows


def measure(part, photos, weights, precision, folder):
    """What the record says of a part."""
    if part == "vgg16":
        policies = dict.fromkeys(["float32", precision])
        return {part: {policy: in_its_own_process(our_vgg16, policy)[0] for policy in policies}}
    if part == "growth":
        return {part: growth(photos, weights, precision, folder)}
    count = PHOTOS[part]
    data = link_photos(photos, count, round(count * VALIDATION), folder / part)
    pairs = [pair(part, data, weights, precision, folder) for _ in range(PAIRS)]
    ratio = statistics.median(pair["ratio"] for pair in pairs)
    return {part: {"photos": count, "pairs": pairs}, f"{part}_ratio": ratio}


def parse(argv=None):
    """The command line's options, or those of `argv`."""
    parser = cli.ArgumentParser(__doc__)
    parser.add_argument(
        "parts", nargs="*", default=PARTS, metavar="PART", help=f"of {', '.join(PARTS)} (all)"
    )
    parsers.add_folders(
        parser, "folder with train/CLASS/ and validation/CLASS/", "where bench.json goes"
    )
    parsers.add_vgg16(parser)
    parser.add_argument(
        "--precision",
        choices=("float32", "mixed_bfloat16"),
        help="of ours (default: what the processor does best); the plain port is in float32",
    )
    arguments = parser.parse_args(argv)
    for part in arguments.parts:
        if part not in PARTS:
            raise InputError(f"{part}: no such part; there are {', '.join(PARTS)}")
    return arguments


def main(arguments):
    """Run the script with the options that parse() returned."""
    parts, folder = arguments.parts, arguments.weights or folders.default_weights(arguments.data)
    photos, _ = in_its_own_process(class_photos, arguments.data)
    files.make_writable_folder(folder)
    precision = arguments.precision or ("float32" if EMULATED else None)
    (about, weights), _ = in_its_own_process(
        environment, arguments.vgg16_weights, precision, folder
    )
    trained_on = [
        (f"{name}/{path.name}", files.sha256(path))
        for name, paths in photos["train"].items()
        for path in paths
    ]
    about["photos_sha256"] = fingerprints.data_set_digest(*zip(*trained_on, strict=True))
    bench = {**about, "started": datetime.now(UTC).isoformat(timespec="seconds")}
    output, unfinished = folder / "bench.json", folder / ".partial-bench.json"
    if unfinished.exists():
        earlier = json.loads(unfinished.read_text())
        if all(earlier.get(name) == value for name, value in about.items()):
            bench = earlier
    with tempfile.TemporaryDirectory() as work, tqdm(parts, unit="part") as progress:
        for part in progress:
            progress.set_description(part)
            if part not in bench:
                bench |= measure(part, photos, weights, about["precision"], Path(work))
            files.write_json(unfinished, bench)
    bench["finished"] = datetime.now(UTC).isoformat(timespec="seconds")
    bench["commits"] = dict.fromkeys(parts, bench.pop("commit"))
    entries = {tables.kind(e): e for e in json.loads(output.read_text())} if output.exists() else {}
    earlier = entries.get(tables.kind(bench), {})
    if set(parts) != set(PARTS):  # the others stay
        bench["commits"] = earlier.get("commits", {}) | bench["commits"]
        bench = earlier | bench
    entries[tables.kind(bench)] = bench
    files.write_json(output, list(entries.values()))
    unfinished.unlink()
    print(tables.speed(list(entries.values())))


if __name__ == "__main__":
    cli.run(lambda: main(parse()))
