"""How good a model's answers are: recall per class, what is taken for what, the worst mistakes."""

import numpy as np

from common import cli, networks, tables

MISTAKES = 20  # on the sheet
SHOWN = 300  # pixels of a photo's longer side there
FEW_CLASSES = 10  # so many have a column each in the table


def table(labels, answers, names):
    """Markdown table: for each class its recall, and what its photos are taken for.

    labels, answers: the classes' numbers, shape (photos,). names: the classes'.
    """
    few = len(names) <= FEW_CLASSES
    columns = names if few else ("photos", "taken for")
    rows = [("is \\ taken for" if few else "class", *columns, "recall", "95 %")]
    for number, name in enumerate(names):
        counts = np.bincount(answers[labels == number], minlength=len(names))
        photos, right = int(counts.sum()), int(counts[number])
        if few:
            cells = map(str, counts)
        else:
            wrong = [n for n in np.argsort(-counts, kind="stable") if counts[n] and n != number]
            cells = str(photos), ", ".join(f"{names[n]} {counts[n]}" for n in wrong[:3])
        recall = ("", "")
        if photos:
            recall = f"{right / photos:.3f}", tables.interval(right / photos, photos)
        rows.append((name, *cells, *recall))
    return cli.markdown(rows)


def show_mistakes(paths, labels, probabilities, record, sheet):
    """Show the photos with the smallest probability of their class on one sheet, and say so.

    probabilities: shape (photos, classes). record: the model's, with its class_indices. sheet:
    the file; removed if there are no mistakes, since an earlier one would be taken for this one.
    """
    names, answers = networks.class_names(record), probabilities.argmax(axis=1)
    wrong = np.flatnonzero(answers != labels)
    worst = wrong[np.argsort(probabilities[wrong, labels[wrong]], kind="stable")][:MISTAKES]
    pictures = []
    for number in worst:
        label, answer = labels[number], answers[number]
        caption = (
            f"is {names[label]}, taken for {names[answer]} ({probabilities[number, answer]:.2f})"
        )
        picture = networks.show(paths[number].read_bytes(), record, SHOWN)
        pictures.append((picture, f"{paths[number].name}\n{caption}"))
    if pictures:
        from common import plots  # not above: matplotlib is slow to import

        plots.sheet(pictures, sheet)
        print(f"\nMistakes: {wrong.size}   The worst {len(pictures)}: {sheet}")
    else:
        sheet.unlink(missing_ok=True)
        print("\nMistakes: 0")
