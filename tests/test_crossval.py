"""Every photo is tested once, by a network that has not seen it; interrupted, it resumes."""

import json

import pytest

import crossval
from common import files, images, parts
from common.cli import InputError
from conftest import SMALL


def test_folds_hold_every_photo_once_and_the_classes_alike(drawings):
    folds = crossval.divide(drawings, 5, seed=0)
    for name in "cats", "dogs":
        sizes = [len(fold[name]) for fold in folds]
        assert sum(sizes) == 16 and max(sizes) - min(sizes) <= 1
    paths = [path for fold in folds for photos in fold.values() for _, path in photos]
    assert sorted(paths) == sorted(drawings.absolute().rglob("*.jpg"))
    assert crossval.divide(drawings, 5, seed=0) == folds != crossval.divide(drawings, 5, seed=1)
    with pytest.raises(InputError, match="16 photos of cats"):
        crossval.divide(drawings, 17, seed=0)


def test_links_are_what_the_record_says(drawings, tmp_path):
    folds = crossval.divide(drawings, 4, seed=0)
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
    assert "| 2     | 16" in table
    records = workplace.weights / "crossval.jsonl"
    first, second = (json.loads(line) for line in records.read_text().splitlines())
    assert (first["fold"], second["fold"], first["folds"]) == (0, 1, 2)
    records.write_text(json.dumps(first) + "\n")
    assert workplace.status(crossval, *options) == 0
    again = [json.loads(line) for line in records.read_text().splitlines()]
    assert again[0] == first
    assert again[1]["run"] != second["run"] and again[1]["history"] == second["history"]
    assert list((workplace.weights / "crossval").iterdir()) == []
    assert not (workplace.weights / "runs.jsonl").exists()
    assert "2 or more" in workplace.error(crossval, "scratch", "--folds", 1)
