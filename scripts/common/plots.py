"""The report's pictures, each as SVG in two versions: for light and for dark pages."""

import statistics
import warnings

import matplotlib

matplotlib.use("Agg")
matplotlib.rcdefaults()  # whatever the user's matplotlibrc says
import matplotlib.pyplot as plt
from PIL import Image

from common import files
from common.recipes import ARTICLE

# Legible on white and on GitHub's dark grey.
THEMES = {"": ("#1f2328", "#d0d7de"), "-dark": ("#e6edf3", "#3d444d")}  # text, lines

# Names, and colours for each theme: by Okabe and Ito, distinct for the colour-blind, too.
EXPERIMENTS = {
    "scratch": ("small convnet from scratch", ("#D55E00", "#E69F00")),
    "bottleneck": ("classifier on VGG16's features", ("#0072B2", "#56B4E9")),
    "finetune": ("VGG16's last block fine-tuned", ("#009E73", "#2CC295")),
    "best": ("best: kernel classifier\non larger photos", ("#9E4D86", "#E59CCB")),
}


def _themes(path, size, grid):
    """Yield for each theme the axes to draw on and the experiments' colours; save what is drawn.

    grid: "x" or "y", the axis whose grid lines are shown.
    """
    for number, (theme, (text, line)) in enumerate(THEMES.items()):
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
            axes.grid(axis=grid, color=line, linewidth=0.6)
            yield axes, {name: colours[number] for name, (_, colours) in EXPERIMENTS.items()}
            target = path.with_name(f"{path.name}{theme}.svg")
            with files.replacing(target) as temporary:
                figure.savefig(temporary, metadata={"Date": None})
            plt.close(figure)


def _plot_curve(axes, x, values, style, colour, label, label_y=None):
    """Plot the mean of the values at each x, a band from lowest to highest, and a label.

    The label ends with the last mean; it is at label_y (default: the last mean).
    """
    mean = [statistics.mean(at_x) for at_x in values]
    axes.plot(x, mean, style, color=colour, linewidth=2)
    low, high = [min(at_x) for at_x in values], [max(at_x) for at_x in values]
    axes.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)
    axes.annotate(
        label.format(mean[-1]),
        (x[-1], mean[-1] if label_y is None else label_y),
        (10, 0),
        textcoords="offset points",
        color=colour,
        va="center",
    )


def learning_curves(experiments, path):
    """Validation accuracy by epoch: mean over an experiment's runs, lowest to highest as a band.

    experiments: {experiment: runs}.
    """
    for axes, colours in _themes(path, (9, 5.5), "y"):
        for experiment, runs in experiments.items():
            low, high = ARTICLE[experiment][0], ARTICLE[experiment][-1]
            axes.axhline((low + high) / 2, color=colours[experiment], linestyle="--", linewidth=1)
            if runs:
                by_epoch = list(zip(*(run["history"]["val_accuracy"] for run in runs), strict=True))
                article = f"{low:.2f}–{high:.2f}" if low < high else f"{low:.2f}"
                label = f"{EXPERIMENTS[experiment][0]}\n{{:.3f}}, article {article}"
                epochs = range(1, len(by_epoch) + 1)
                _plot_curve(
                    axes, epochs, by_epoch, "-", colours[experiment], label, (low + high) / 2
                )
        axes.set(xlabel="epoch", ylabel="validation accuracy", xlim=(1, 50), ylim=(0.55, 1))


def changes(articles, labels, path):
    """The last epoch of every run as a dot, by recipe, with the mean as a line."""
    rows = [
        (experiment, recipe, runs)
        for experiment, recipes in articles.items()
        for recipe, runs in recipes.items()
        if len(recipes) > 1
    ]
    experiments, recipes = list(EXPERIMENTS), [*labels, "float32"]
    rows.sort(key=lambda row: (experiments.index(row[0]), recipes.index(row[1])))
    names = [
        f"{experiment}, {labels.get(recipe, 'faithful, in float32').split(':')[0]}"
        for experiment, recipe, _ in rows
    ]
    for axes, colours in _themes(path, (9, 1.2 + 0.36 * len(rows)), "x"):
        for y, (experiment, _, runs) in enumerate(rows):
            values = [run["val_accuracy"] for run in runs]
            axes.plot(values, [y] * len(values), "o", color=colours[experiment], alpha=0.6)
            mean = [statistics.mean(values)] * 2
            axes.plot(mean, [y - 0.3, y + 0.3], color=plt.rcParams["text.color"], linewidth=2)
        axes.set_yticks(range(len(rows)), names)
        axes.invert_yaxis()
        axes.set(xlabel="validation accuracy after the last epoch; the line is the mean")


def label_efficiency(experiments, path):
    """Accuracy by training photos per class: mean over draws, lowest to highest as a band.

    experiments: what selection.by_photos() returned.
    """
    ticks = sorted({size for sizes in experiments.values() for size in sizes})
    for axes, colours in _themes(path, (9, 4.5), "y"):
        for experiment, sizes in experiments.items():
            values = [[run["val_accuracy"] for run in runs] for runs in sizes.values()]
            label = f"{EXPERIMENTS[experiment][0]}\n{{:.3f}}"
            _plot_curve(axes, list(sizes), values, "o-", colours[experiment], label)
        axes.set_xscale("log")
        axes.set_xticks(ticks, [f"{size:,}" for size in ticks])
        axes.minorticks_off()
        axes.set(xlabel="training photos per class", ylabel="validation accuracy", ylim=(0.5, 1))


def hard_photos(photos, data, path):
    """One sheet of these photos, each with the experiments' mean probability of a dog."""
    pictures = []
    for name, answers in photos:
        caption = ", ".join(f"{experiment} {dog:.2f}" for experiment, (*_, dog) in answers.items())
        with Image.open(data / "validation" / name) as picture:
            pictures.append((picture.convert("RGB"), f"{name}\n{caption}"))
    sheet(pictures, path)


def sheet(pictures, path):
    """One picture of pictures with captions: [(Pillow image or array, caption), ...]."""
    columns = 5
    rows = -(-len(pictures) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(12, 3 * rows), layout="constrained", squeeze=False
    )
    for place in axes.flat:
        place.set_axis_off()
    for place, (picture, caption) in zip(axes.flat, pictures, strict=False):
        place.imshow(picture)
        caption = caption.encode(errors="surrogateescape").decode(errors="replace")  # any bytes
        place.set_title(caption, fontsize=7, parse_math=False)
    about = {"comment": files.PLOTTED} if path.suffix == ".jpg" else {}  # PNG has it by itself
    with files.replacing(path) as temporary, warnings.catch_warnings(action="ignore"):
        figure.savefig(temporary, dpi=100, pil_kwargs=about)  # names in all scripts, not all fonts
    plt.close(figure)
