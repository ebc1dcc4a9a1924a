"""The report's pictures, each as SVG in two versions: for light and for dark pages."""

import statistics

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from PIL import Image

from common import files
from common.recipes import ARTICLE

# Legible on white and on GitHub's dark grey; the three experiments' colours by Okabe and Ito,
# whom also the colour-blind can tell apart.
THEMES = {"": ("#1f2328", "#d0d7de"), "-dark": ("#e6edf3", "#3d444d")}  # text, lines
COLOURS = {
    "scratch": "#D55E00",
    "bottleneck": "#0072B2",
    "finetune": "#009E73",
    "best": "#9E4D86",
}
ON_DARK = {
    "scratch": "#E69F00",
    "bottleneck": "#56B4E9",
    "finetune": "#2CC295",
    "best": "#E59CCB",
}

NAMES = {
    "scratch": "small convnet from scratch",
    "bottleneck": "classifier on VGG16's features",
    "finetune": "VGG16's last block fine-tuned",
    "best": "best: kernel classifier\non larger photos",
}


def _both(draw, path, size):
    """Call draw(axes, text colour, line colour, colours) for each theme and save both."""
    for theme, (text, line) in THEMES.items():
        style = {
            "text.color": text,
            "axes.labelcolor": text,
            "axes.edgecolor": line,
            "xtick.color": text,
            "ytick.color": text,
            "axes.facecolor": "none",
            "figure.facecolor": "none",
            "font.size": 10,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "svg.hashsalt": path.name,  # the same picture is the same file
        }
        with plt.rc_context(style):
            figure, axes = plt.subplots(figsize=size, layout="constrained")
            draw(axes, text, line, ON_DARK if theme else COLOURS)
            target = path.with_name(f"{path.name}{theme}.svg")
            with files.replacing(target) as temporary:
                figure.savefig(temporary, metadata={"Date": None})
            plt.close(figure)


def learning_curves(experiments, path):
    """Validation accuracy by epoch: mean over an experiment's runs, lowest to highest as a band.

    experiments: {experiment: runs}.
    """

    def draw(axes, text, line, colours):
        axes.grid(axis="y", color=line, linewidth=0.6)
        for experiment, runs in experiments.items():
            low, high = ARTICLE[experiment][0], ARTICLE[experiment][-1]
            colour = colours[experiment]
            axes.axhline((low + high) / 2, color=colour, linestyle="--", linewidth=1)
            if not runs:
                continue
            curves = [run["history"]["val_accuracy"] for run in runs]
            epochs = range(1, len(curves[0]) + 1)
            by_epoch = list(zip(*curves, strict=True))
            mean = [statistics.mean(values) for values in by_epoch]
            axes.plot(epochs, mean, color=colour, linewidth=2)
            axes.fill_between(
                epochs,
                [min(values) for values in by_epoch],
                [max(values) for values in by_epoch],
                color=colour,
                alpha=0.2,
                linewidth=0,
            )
            article = f"{low:.2f}–{high:.2f}" if low < high else f"{low:.2f}"
            end = (epochs[-1], (low + high) / 2)
            label = f"{NAMES[experiment]}\n{mean[-1]:.3f}, article {article}"
            axes.annotate(
                label, end, (10, 0), textcoords="offset points", color=colour, va="center"
            )
        axes.set(xlabel="epoch", ylabel="validation accuracy", xlim=(1, 50), ylim=(0.55, 1))

    _both(draw, path, (9, 5.5))


def changes(articles, labels, path):
    """The last epoch of every run as a dot, by recipe, with the mean as a line."""
    rows = [
        (experiment, recipe, runs)
        for experiment, recipes in articles.items()
        for recipe, runs in recipes.items()
        if len(recipes) > 1
    ]
    order = [*labels, "float32"]
    rows.sort(key=lambda row: (list(NAMES).index(row[0]), order.index(row[1])))

    def draw(axes, text, line, colours):
        axes.grid(axis="x", color=line, linewidth=0.6)
        for number, (experiment, _, runs) in enumerate(rows):
            values = [run["val_accuracy"] for run in runs]
            colour = colours[experiment]
            axes.plot(values, [number] * len(values), "o", color=colour, alpha=0.6)
            mean = statistics.mean(values)
            axes.plot([mean, mean], [number - 0.3, number + 0.3], color=text, linewidth=2)
        names = (
            f"{experiment}, {labels.get(recipe, 'faithful, in float32').split(':')[0]}"
            for experiment, recipe, _ in rows
        )
        axes.set_yticks(range(len(rows)), names)
        axes.invert_yaxis()
        axes.set(xlabel="validation accuracy after the last epoch; the line is the mean")

    _both(draw, path, (9, 1.2 + 0.36 * len(rows)))


def label_efficiency(experiments, path):
    """Accuracy by training photos a class: mean over draws, lowest to highest as a band.

    experiments: what tables.by_photos() returned.
    """

    def draw(axes, text, line, colours):
        axes.grid(axis="y", color=line, linewidth=0.6)
        for experiment, sizes in experiments.items():
            values = [[run["val_accuracy"] for run in runs] for runs in sizes.values()]
            mean = [statistics.mean(of_size) for of_size in values]
            colour = colours[experiment]
            axes.plot(list(sizes), mean, "o-", color=colour, linewidth=2)
            low, high = [min(v) for v in values], [max(v) for v in values]
            axes.fill_between(list(sizes), low, high, color=colour, alpha=0.2, linewidth=0)
            axes.annotate(
                f"{NAMES[experiment]}\n{mean[-1]:.3f}",
                (max(sizes), mean[-1]),
                (10, 0),
                textcoords="offset points",
                color=colour,
                va="center",
            )
        ticks = sorted({size for sizes in experiments.values() for size in sizes})
        axes.set_xscale("log")
        axes.set_xticks(ticks, [f"{size:,}" for size in ticks])
        axes.minorticks_off()
        axes.set(xlabel="training photos a class", ylabel="validation accuracy", ylim=(0.5, 1))

    _both(draw, path, (9, 4.5))


def hard_photos(photos, data, path):
    """One sheet of these photos, each with what the experiments answer: P(dog) on average."""
    pictures = []
    for name, looks in photos:
        said = ", ".join(f"{experiment} {look[2]:.2f}" for experiment, look in looks.items())
        with Image.open(data / "validation" / name) as picture:
            pictures.append((picture.convert("RGB"), f"{name}\n{said}"))
    if pictures:
        sheet(pictures, path)


def sheet(pictures, path):
    """One picture of pictures with captions, [(Pillow's or an array, caption), ...]."""
    columns = 5
    rows = -(-len(pictures) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(12, 3 * rows), layout="constrained", squeeze=False
    )
    for place in axes.flat:
        place.set_axis_off()
    for place, (picture, caption) in zip(axes.flat, pictures, strict=False):
        place.imshow(picture)
        place.set_title(caption, fontsize=7, parse_math=False)
    with files.replacing(path) as temporary:
        figure.savefig(temporary, dpi=100)
    plt.close(figure)
