"""Pictures are recognised in any encoding: leaks, bursts, and the article's."""

import io
import random
import shutil
from unittest import mock

import draw
import numpy as np
from common import division, fingerprints, images
from conftest import ARTICLES, MANIFEST, SMALL
from PIL import Image


def encoded(picture, quality=90, scale=1.0):
    size = [round(side * scale) for side in picture.size]
    file = io.BytesIO()
    picture.resize(size, Image.Resampling.BICUBIC).save(file, "JPEG", quality=quality)
    return file.getvalue()


def shot(picture, number):
    """One shot of a burst: slightly moved, lighter or darker, with noise."""
    noise = np.random.default_rng(number)
    left, top = noise.integers(0, 3, 2)
    box = (left, top, picture.width - 2 + left, picture.height - 2 + top)
    pixels = np.asarray(picture.crop(box), float) * noise.uniform(0.95, 1.05)
    pixels += noise.normal(0, 3, pixels.shape)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def drawn(kind, seed):
    return draw.drawing(kind, random.Random(seed))


def save_pictures(folder, count, picture, ending="png"):
    """`count` pictures of each class, cat and dog; picture: a function of class and number."""
    for kind in "cat", "dog":
        (folder / kind).mkdir(parents=True)
        for number in range(count):
            picture(kind, number).save(folder / kind / f"{number}.{ending}", quality=85)


def describe(data):
    """What images.describe() says of a data folder."""
    splits = [data / split for split in ("train", "validation")]
    return images.describe(*(images.in_order_generator(split, SMALL, 4) for split in splits))


def alike(some, others):
    """fingerprints.alike() of pictures' bytes."""
    prints = ([fingerprints.fingerprint(content) for content in of] for of in (some, others))
    return fingerprints.alike(*prints).tolist()


def test_a_picture_is_recognised_in_any_encoding():
    pictures = [drawn(kind, n) for n in range(20) for kind in ("cat", "dog")]
    originals = [encoded(picture, 95) for picture in pictures]
    each = [[n, n] for n in range(len(pictures))]
    assert alike(originals, originals) == each
    for quality, scale in (90, 1), (70, 0.9), (75, 0.5), (80, 1.5):
        assert alike([encoded(p, quality, scale) for p in pictures], originals) == each


def test_16_bit_pictures_are_distinguished():
    one, other = (io.BytesIO() for _ in range(2))
    for seed, file in enumerate((one, other)):
        pixels = np.random.default_rng(seed).integers(2**9, 2**16, (40, 40), np.uint16)
        Image.fromarray(pixels).save(file, "PNG")
    assert alike([one.getvalue()], [other.getvalue()]) == []


def test_two_of_the_articles_2800_pictures_occur_twice():
    names = list(MANIFEST)
    pairs = fingerprints.alike(*[[print_ for _, print_ in MANIFEST.values()]] * 2)
    twice = {tuple(sorted((names[a], names[b]))) for a, b in pairs if a != b}
    assert twice == {
        ("train/dogs/dog.180.jpg", "train/dogs/dog.74.jpg"),
        ("train/dogs/dog.980.jpg", "validation/dogs/dog.1273.jpg"),
    }


def test_groups_are_the_same_picture_directly_or_through_others():
    rng = np.random.default_rng(0)
    base, other = rng.integers(0, 256, (2, 32), np.uint8)
    near, far = base.copy(), base.copy()
    near[:5] ^= 255  # 40 bits
    far[:10] ^= 255  # 80, but 40 from `near`
    numbers = fingerprints.groups([base, other, None, far, near, None])
    assert numbers[0] == numbers[3] == numbers[4]
    assert len(set(numbers)) == 4


def test_photos_are_the_articles_by_their_pictures(monkeypatch, data, capsys):
    """Counted by the manifest's split and class, whatever the files' names."""
    manifest = {
        path.relative_to(data).as_posix(): ("0" * 64, fingerprints.fingerprint(path.read_bytes()))
        for path in data.rglob("*.jpg")
    }
    monkeypatch.setattr(fingerprints, "read_manifest", lambda: manifest)
    cats = data / "train/cats"

    def whose():
        return fingerprints.are_the_articles(describe(data), manifest)

    assert describe(data)["articles"] == {"train": 20, "validation": 12}
    assert whose() == "encoded anew"
    (cats / "cat.3.jpg").rename(cats / "another name.jpg")
    assert whose() == "encoded anew"
    shutil.copy(data / "validation/cats/cat.0.jpg", cats / "another name.jpg")
    capsys.readouterr()
    assert describe(data)["articles"] == {"train": 19, "validation": 12}
    assert "warning: 1 validation photos" in capsys.readouterr().err
    assert whose() is None
    copies = [shutil.copy(cats / "cat.0.jpg", cats / f"{number}.jpg") for number in range(20)]
    description = describe(data)  # copies do not count
    assert description["articles"]["train"] == 19 < description["train"]["photos"]
    for copy in copies:
        copy.unlink()
    (cats / "another name.jpg").unlink()  # 19 of 20 are fewer than 99 %
    assert whose() is None
    monkeypatch.setattr(fingerprints, "ENOUGH", 0.95)
    assert whose() == "encoded anew"
    (data / "validation/cats/cat.0.jpg").unlink()
    assert whose() is None


def test_the_articles_files_are_exactly_its_photos():
    assert fingerprints.are_the_articles(ARTICLES, MANIFEST) == "exactly"
    other = ARTICLES | {"train": ARTICLES["train"] | {"sha256": "x"}}
    assert fingerprints.are_the_articles(other, MANIFEST) is None


def test_a_burst_of_shots_stays_on_one_side(tmp_path, capsys):
    """Five bursts per class: shots 0 to 4 are one, 5 to 9 the next, ..."""
    save_pictures(tmp_path / "data", 25, lambda kind, n: shot(drawn(kind, n // 5), n), "jpg")
    division.split_photos(tmp_path / "data", tmp_path / "split")
    for kind in "cat", "dog":
        sides = [
            {int(path.stem) // 5 for path in (tmp_path / "split" / side / kind).iterdir()}
            for side in ("train", "validation")
        ]
        assert [len(bursts) for bursts in sides] == [4, 1] and sides[0].isdisjoint(sides[1])
        assert len(list((tmp_path / "split/validation" / kind).iterdir())) == 5
    assert "50 photos have near-duplicates, which stay on one side" in capsys.readouterr().out


def test_a_picture_in_two_classes_is_told(tmp_path, capsys):
    save_pictures(tmp_path / "data", 8, drawn)
    shutil.copy(tmp_path / "data/cat/3.png", tmp_path / "data/dog/3.png")
    division.split_photos(tmp_path / "data", tmp_path / "split")
    told = capsys.readouterr()
    assert "2 photos have near-duplicates" in told.out
    assert told.err == "warning: nearly the same picture in two classes: cat/3.png = dog/3.png\n"


def test_a_class_of_one_picture_is_split_with_a_warning(tmp_path, capsys):
    save_pictures(tmp_path, 4, lambda kind, n: drawn(kind, n * (kind == "dog")))
    division.split_photos(tmp_path, tmp_path / "split")
    (line,) = capsys.readouterr().err.splitlines()
    assert "cat: its 4 photos show nearly the same picture" in line
    for kind in "cat", "dog":
        assert len(list((tmp_path / "split/validation" / kind).iterdir())) == 1


def test_plain_pictures_resemble_no_others(tmp_path):
    save_pictures(tmp_path, 10, lambda kind, _: Image.new("RGB", (40, 40), "red"))
    assert fingerprints.fingerprint((tmp_path / "cat/0.png").read_bytes()) is None
    division.split_photos(tmp_path, tmp_path / "split")
    assert len(list((tmp_path / "split/validation").rglob("*.png"))) == 4


def test_a_few_large_groups_are_split_too(tmp_path):
    """If no group fits into a fifth, one is validated on that leaves something to train on."""

    def counts(a, b):
        names = [f"a/{n}.jpg" for n in range(len(a))] + [f"b/{n}.jpg" for n in range(len(b))]
        chosen = division._validation_photos(tmp_path, names, [*a, *b])
        return [sum(name[0] == of_class for name in chosen) for of_class in "ab"]

    assert counts([0, 0, 0, 1, 1, 1], range(2, 8)) == [3, 1]
    # a small one fits, but that is less than half a fifth
    assert counts([0] * 60 + [1] * 39 + [2], range(3, 13))[0] in (40, 61)


def test_photos_are_read_once_for_a_split(tmp_path, monkeypatch):
    save_pictures(tmp_path / "data", 5, drawn)
    spy = mock.Mock(wraps=fingerprints.fingerprint)
    monkeypatch.setattr(fingerprints, "fingerprint", spy)

    def split():
        spy.reset_mock()
        division.split_photos(tmp_path / "data", tmp_path / "split")
        links = sorted(path for path in (tmp_path / "split").rglob("*.png") if path.is_symlink())
        return spy.call_count, links

    read, links = split()
    assert (read, len(links)) == (10, 10)
    assert split() == (0, links)
    links[0].unlink()
    assert split() == (0, links)
    drawn("cat", 9).save(tmp_path / "data/cat/9.png")
    assert split()[0] == 11
    (tmp_path / "split/.photos.json").write_text("{")
    assert split()[0] == 11
