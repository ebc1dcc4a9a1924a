"""Pictures are known by what they show: leaks, bursts, and the article's, however encoded."""

import io
import random
import shutil

import draw
from common import fingerprints, folders, images
import numpy as np
from conftest import ARTICLES, MANIFEST
from PIL import Image


def encoded(picture, quality=90, scale=1.0):
    size = [round(side * scale) for side in picture.size]
    file = io.BytesIO()
    picture.resize(size, Image.Resampling.BICUBIC).save(file, "JPEG", quality=quality)
    return file.getvalue()


def shot(picture, number):
    """One of several of the same thing: a little moved, lighter or darker, with noise."""
    noise = np.random.default_rng(number)
    left, top = noise.integers(0, 3, 2)
    box = (left, top, picture.width - 2 + left, picture.height - 2 + top)
    pixels = np.asarray(picture.crop(box), float) * noise.uniform(0.95, 1.05)
    pixels += noise.normal(0, 3, pixels.shape)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def found(some, others):
    prints = ([fingerprints.fingerprint(content) for content in of] for of in (some, others))
    return fingerprints.alike(*prints).tolist()


def test_a_picture_is_known_again_however_it_is_encoded():
    pictures = [draw.drawing(kind, random.Random(n)) for n in range(20) for kind in ("cat", "dog")]
    originals = [encoded(picture, 95) for picture in pictures]
    each = [[n, n] for n in range(len(pictures))]
    assert found(originals, originals) == each
    for quality, scale in (90, 1), (70, 0.9), (75, 0.5), (80, 1.5):
        assert found([encoded(p, quality, scale) for p in pictures], originals) == each


def test_pictures_of_16_bits_are_told_apart(tmp_path):
    prints = []
    for seed in range(2):
        pixels = np.random.default_rng(seed).integers(2**9, 2**16, (40, 40), np.uint16)
        Image.fromarray(pixels).save(tmp_path / "16.png")
        prints.append(fingerprints.fingerprint((tmp_path / "16.png").read_bytes()))
    assert fingerprints.alike(prints[:1], prints[1:]).tolist() == []


def test_of_the_articles_2800_pictures_two_are_there_twice():
    names = list(MANIFEST)
    pairs = fingerprints.alike(*[[print_ for _, print_ in MANIFEST.values()]] * 2)
    twice = {tuple(sorted((names[a], names[b]))) for a, b in pairs if a != b}
    assert twice == {
        ("train/dogs/dog.180.jpg", "train/dogs/dog.74.jpg"),
        ("train/dogs/dog.980.jpg", "validation/dogs/dog.1273.jpg"),
    }


def test_groups_are_of_the_same_picture_directly_or_by_others():
    rng = np.random.default_rng(0)
    base, other = rng.integers(0, 256, (2, 32), np.uint8)
    near, far = base.copy(), base.copy()
    near[:5] ^= 255  # 40 bits
    far[:10] ^= 255  # 80, but 40 from `near`
    numbers = fingerprints.groups([base, other, None, far, near, None])
    assert numbers[0] == numbers[3] == numbers[4]
    assert len(set(numbers)) == 4


def test_leaks_are_told_and_counted(data, capsys):
    picture = Image.open(data / "train/dogs/dog.7.jpg")
    (data / "validation/cats/cat.3.jpg").write_bytes(encoded(picture, 70, 0.9))
    flows = [images.in_order_generator(data / s, (48, 48), 4) for s in ("train", "validation")]
    description = images.describe(*flows)
    assert description["duplicates"] == 1
    assert "articles" not in description
    said = capsys.readouterr().err
    assert "1 validation photos show the picture of a training photo" in said
    assert "cats/cat.3.jpg = dogs/dog.7.jpg" in said


def test_photos_are_the_articles_by_their_pictures(monkeypatch, data, capsys):
    """As many as are of the manifest's split and class, in files of any name."""
    manifest = {
        path.relative_to(data).as_posix(): ("0" * 64, fingerprints.fingerprint(path.read_bytes()))
        for path in data.rglob("*.jpg")
    }
    monkeypatch.setattr(fingerprints, "read_manifest", lambda: manifest)

    def look():
        flows = [images.in_order_generator(data / s, (48, 48), 4) for s in ("train", "validation")]
        return images.describe(*flows)

    assert look()["articles"] == {"train": 20, "validation": 12}
    assert fingerprints.are_the_articles(look(), manifest) == "encoded anew"
    (data / "train/cats/cat.3.jpg").rename(data / "train/cats/another name.jpg")
    assert fingerprints.are_the_articles(look(), manifest) == "encoded anew"
    shutil.copy(data / "validation/cats/cat.0.jpg", data / "train/cats/another name.jpg")
    capsys.readouterr()
    assert look()["articles"] == {"train": 19, "validation": 12}
    assert "warning: 1 validation photos" in capsys.readouterr().err
    assert fingerprints.are_the_articles(look(), manifest) is None
    for number in range(20):  # copies are not more of them
        shutil.copy(data / "train/cats/cat.0.jpg", data / f"train/cats/{number}.jpg")
    assert look()["articles"]["train"] == 19 < look()["train"]["photos"]
    for number in range(20):
        (data / f"train/cats/{number}.jpg").unlink()
    (data / "train/cats/another name.jpg").unlink()  # 19 of 20 are fewer than 99 %
    assert fingerprints.are_the_articles(look(), manifest) is None
    monkeypatch.setattr(fingerprints, "ENOUGH", 0.95)
    assert fingerprints.are_the_articles(look(), manifest) == "encoded anew"
    (data / "validation/cats/cat.0.jpg").unlink()
    assert fingerprints.are_the_articles(look(), manifest) is None


def test_the_articles_files_are_exactly_its_photos():
    assert fingerprints.are_the_articles(ARTICLES, MANIFEST) == "exactly"
    other = ARTICLES | {"train": ARTICLES["train"] | {"sha256": "x"}}
    assert fingerprints.are_the_articles(other, MANIFEST) is None


def sides(folder):
    """{photo's number: the sides that its burst's shots are on}."""
    found = {}
    for path in folder.glob("*/*/*.jpg"):
        found.setdefault(path.name.split("-")[0], set()).add(path.parts[-3])
    return found


def test_a_burst_of_shots_stays_on_one_side(tmp_path):
    for burst in range(10):
        kind = ("cat", "dog")[burst % 2]
        picture = draw.drawing(kind, random.Random(burst))
        (tmp_path / "data" / kind).mkdir(parents=True, exist_ok=True)
        for number in range(5):
            path = tmp_path / "data" / kind / f"{burst}-{number}.jpg"
            shot(picture, burst * 10 + number).save(path, quality=85)
    folders.divide(tmp_path / "data", tmp_path / "split")
    assert len(sides(tmp_path / "split")) == 10
    assert all(len(found) == 1 for found in sides(tmp_path / "split").values())
    for kind in "cat", "dog":  # a fifth of 25
        assert len(list((tmp_path / "split/validation" / kind).iterdir())) == 5


def test_a_class_of_one_picture_is_divided_with_a_warning(tmp_path, capsys):
    for kind in "cat", "dog":
        (tmp_path / kind).mkdir()
        for number in range(4):
            draw.drawing(kind, random.Random(number * (kind == "dog"))).save(
                tmp_path / kind / f"{number}.png"
            )
    folders.divide(tmp_path, tmp_path / "split")
    (line,) = capsys.readouterr().err.splitlines()
    assert "cat: its 4 photos show nearly the same picture" in line
    for kind in "cat", "dog":
        assert len(list((tmp_path / "split/validation" / kind).iterdir())) == 1


def test_plain_pictures_are_like_no_others(tmp_path):
    for kind in "red", "blue":
        (tmp_path / kind).mkdir()
        for number in range(10):
            Image.new("RGB", (40, 40), kind).save(tmp_path / kind / f"{number}.png")
    assert fingerprints.fingerprint((tmp_path / "red/0.png").read_bytes()) is None
    folders.divide(tmp_path, tmp_path / "split")
    assert len(list((tmp_path / "split/validation").rglob("*.png"))) == 4


def test_few_large_groups_are_divided_too(tmp_path):
    """Where no group fits into a fifth, one goes there that leaves something to train on."""
    names = [f"a/{n}.jpg" for n in range(6)] + [f"b/{n}.jpg" for n in range(6)]
    groups = [0, 0, 0, 1, 1, 1, *range(2, 8)]
    tested = folders._tested(tmp_path, names, groups)
    assert len([name for name in tested if name[0] == "a"]) == 3
    assert len([name for name in tested if name[0] == "b"]) == 1
    # a small one that fits, and less than half of what is to be there
    names, groups = [f"a/{n}.jpg" for n in range(100)], [0] * 60 + [1] * 39 + [2]
    names, groups = [*names, *(f"b/{n}.jpg" for n in range(10))], [*groups, *range(3, 13)]
    tested = folders._tested(tmp_path, names, groups)
    assert len([name for name in tested if name[0] == "a"]) in (40, 61)


def test_a_division_is_made_once_for_photos_that_look_the_same(tmp_path, monkeypatch):
    for kind in "cat", "dog":
        (tmp_path / "data" / kind).mkdir(parents=True)
        for number in range(5):
            draw.drawing(kind, random.Random(number)).save(
                tmp_path / "data" / kind / f"{number}.png"
            )
    looked, look = [], fingerprints.fingerprint

    def count(content):
        looked.append(content)
        return look(content)

    monkeypatch.setattr(fingerprints, "fingerprint", count)

    def divided():
        looked.clear()
        folders.divide(tmp_path / "data", tmp_path / "split")
        links = sorted(path for path in (tmp_path / "split").rglob("*.png") if path.is_symlink())
        return len(looked), links

    seen, links = divided()
    assert (seen, len(links)) == (10, 10)
    assert divided() == (0, links)
    links[0].unlink()
    assert divided() == (0, links)
    draw.drawing("cat", random.Random(9)).save(tmp_path / "data/cat/9.png")
    assert divided()[0] == 11
    (tmp_path / "split/.photos.json").write_text("{")
    assert divided()[0] == 11
