"""Every photo is tested once, by a network that has not seen it; interrupted, it resumes."""

import json

import pytest

import best
import bottleneck
import crossval
from common import files, images, parts, records
from common.cli import InputError
from conftest import SMALL


def generators(data):
    return {s: images.in_order_generator(data / s, SMALL, 4) for s in ("train", "validation")}


def test_folds_hold_every_photo_once_and_the_classes_alike(drawings):
    there = generators(drawings)
    folds = crossval.divide(there, 5, seed=0)
    for name in "cats", "dogs":
        sizes = [len(fold[name]) for fold in folds]
        assert sum(sizes) == 16 and max(sizes) - min(sizes) <= 1
    paths = [path for fold in folds for photos in fold.values() for _, path in photos]
    assert sorted(paths) == sorted(drawings.absolute().rglob("*.jpg"))
    assert crossval.divide(there, 5, seed=0) == folds != crossval.divide(there, 5, seed=1)
    with pytest.raises(InputError, match="16 photos of cats"):
        crossval.divide(there, 17, seed=0)


def test_links_are_what_the_record_says(drawings, tmp_path):
    folds = crossval.divide(generators(drawings), 4, seed=0)
    paths = [path for fold in folds for photos in fold.values() for _, path in photos]
    digests = dict(zip(paths, files.photo_digests(paths), strict=True))
    splits = [tmp_path / "data" / split for split in ("train", "validation")]
    for tested in range(4):
        parts.link(folds, tested, tmp_path / "data")
        description = images.describe(*(images.in_order_generator(s, SMALL, 4) for s in splits))
        assert description == parts.describe(folds, tested, digests)
        assert [description[split.name]["photos"] for split in splits] == [24, 8]
        seen, unseen = ({path.resolve() for path in split.rglob("*.jpg")} for split in splits)
        assert not seen & unseen


@pytest.mark.parametrize("in_its_own_process", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_crossval_resumes(workplace, scripts_in_this_process, in_its_own_process):
    if in_its_own_process:
        scripts_in_this_process.undo()
    options = ("scratch", "--folds", 2, "--epochs", 1)
    assert workplace.status(crossval, *options) == 0
    table = workplace.capsys.readouterr().out.splitlines()[-1]
    assert table.startswith("| scratch, 1 epoch | faithful") and "| 2     | 16" in table
    path = workplace.weights / "crossval.jsonl"
    first, second = records.read(path)
    assert (first["fold"], second["fold"], first["folds"]) == (0, 1, 2)
    path.write_text(json.dumps(first) + "\n")
    assert workplace.status(crossval, *options) == 0
    again = records.read(path)
    assert again[0] == first
    assert again[1]["run"] != second["run"] and again[1]["history"] == second["history"]
    assert list((workplace.weights / "crossval").iterdir()) == []
    assert not (workplace.weights / "runs.jsonl").exists()
    assert "2 or more" in workplace.error(crossval, "scratch", "--folds", 1)


@pytest.mark.parametrize("script", [best, bottleneck])
def test_features_of_all_photos_are_used_again(workplace, scripts_in_this_process, script):
    """And give what those give that are made anew."""
    options = (script.__name__, "--folds", 2, "--epochs", 1, "--vgg16-weights", "random")
    path = workplace.weights / "crossval.jsonl"
    assert workplace.status(crossval, *options) == 0
    anew = records.read(path)
    assert "Using the features" not in workplace.capsys.readouterr().out
    path.unlink()
    workplace.after(script)
    assert workplace.status(crossval, *options) == 0
    assert workplace.capsys.readouterr().out.count("Using the features") == 4
    for here, there in zip(records.read(path), anew, strict=True):
        assert here["fold"] == there["fold"] and here["data"] == there["data"]
        assert here["val_probabilities"] == pytest.approx(there["val_probabilities"], abs=1e-4)
