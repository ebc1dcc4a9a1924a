"""Archives: each known layout, compared with the manifest; broken and malicious ones refused."""

import hashlib
import http.server
import io
import stat
import threading
import zipfile
from pathlib import Path

from common import cli
import draw
from common import files, fingerprints
import data as prepare
import pytest
from common.cli import InputError
from conftest import write_zip
from PIL import Image

TRAIN, VALIDATION, GOOGLE = range(6), range(6, 9), range(20, 23)
EVERYTHING = {"train": TRAIN, "validation": VALIDATION}


@pytest.fixture(scope="module")
def kaggle():
    """{(class, number): JPEG bytes}: the photos that these tests call the article's, and more."""
    photos = {}
    for kind in "cat", "dog":
        for number in [*range(12), *GOOGLE]:
            content = io.BytesIO()
            draw.drawing(kind, draw.random.Random(f"{kind} {number}")).save(content, "JPEG")
            photos[kind, number] = content.getvalue()
    return photos


@pytest.fixture
def manifest(kaggle, monkeypatch):
    monkeypatch.setattr(prepare, "TRAIN", TRAIN)
    monkeypatch.setattr(prepare, "VALIDATION", VALIDATION)
    monkeypatch.setattr(prepare, "GOOGLE_VALIDATION", GOOGLE)
    return {
        f"{split}/{kind}s/{kind}.{number}.jpg": (
            hashlib.sha256(kaggle[kind, number]).hexdigest(),
            fingerprints.fingerprint(kaggle[kind, number]),
        )
        for split, numbers in EVERYTHING.items()
        for kind in ("cat", "dog")
        for number in numbers
    }


@pytest.fixture
def output(tmp_path):
    return tmp_path / "data"


@pytest.fixture
def fill(manifest, tmp_path, output):
    """Prepare `output` from a zip archive of {name: bytes}; returns the report."""

    def fill(name, members):
        return prepare.prepare(write_zip(tmp_path / name, members), output, manifest)

    return fill


@pytest.fixture
def summary(output, capsys):
    """What is printed of a report."""

    def summary(report):
        prepare.print_summary(report, output, 18)
        return capsys.readouterr().out

    return summary


def as_train_zip(photos):
    return {f"train/{kind}.{number}.jpg": content for (kind, number), content in photos.items()}


def as_microsoft(photos):
    return {
        f"PetImages/{kind.capitalize()}/{number}.jpg": content
        for (kind, number), content in photos.items()
    }


def renumbered(photos):
    """Those of the first twelve numbers, under each other's."""
    return {(kind, (n * 5 + 3) % 12): photos[kind, n] for kind, n in photos if n < 12}


def contents(output):
    return {
        path.relative_to(output).as_posix(): path.read_bytes() for path in output.rglob("*.jpg")
    }


def state(output):
    return contents(output), (output / "photos.json").read_text()


def expected(kaggle, manifest):
    return {
        path: kaggle[path.split("/")[2].split(".")[0], int(path.split(".")[1])] for path in manifest
    }


def assert_exactly_the_articles(report, output, kaggle, manifest):
    assert (report["photos"], report["exact"], report["encoded_anew"]) == (18, 18, 0)
    assert (report["others"], report["missing"]) == ([], {})
    assert contents(output) == expected(kaggle, manifest)
    assert not (output / ".partial").exists()


@pytest.mark.parametrize(
    ("name", "members"),
    [
        ("train.zip", as_train_zip),
        (
            "dogs-vs-cats.zip",
            lambda photos: {
                "train.zip": write_zip(io.BytesIO(), as_train_zip(photos)).getvalue(),
                "test1.zip": b"not read",
                "sampleSubmission.csv": b"id,label",
            },
        ),
        # as some programs of Windows write names
        (
            "windows.zip",
            lambda photos: {
                name.replace("/", "\\"): content for name, content in as_train_zip(photos).items()
            },
        ),
        (
            "windows too.zip",
            lambda photos: {
                "all\\train.zip": write_zip(io.BytesIO(), as_train_zip(photos)).getvalue()
            },
        ),
        # matched by content
        ("kagglecatsanddogs_5340.zip", lambda photos: as_microsoft(renumbered(photos))),
    ],
)
def test_archives_of_the_articles_photos(kaggle, manifest, output, fill, summary, name, members):
    report = fill(name, members(kaggle))
    assert_exactly_the_articles(report, output, kaggle, manifest)
    assert "exactly the photos behind the README's numbers" in summary(report)


def test_an_unpacked_folder(kaggle, manifest, tmp_path, output):
    for name, content in as_train_zip(kaggle).items():
        path = tmp_path / "my photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (tmp_path / "unpacked").mkdir()
    write_zip(tmp_path / "unpacked" / "train.zip", as_train_zip(kaggle))
    for source in "my photos", "my photos/train", "unpacked":
        report = prepare.prepare(tmp_path / source, output, manifest)
        assert_exactly_the_articles(report, output, kaggle, manifest)


def encoded_anew(content):
    anew = io.BytesIO()
    Image.open(io.BytesIO(content)).save(anew, "JPEG", quality=90)
    return anew.getvalue()


def test_microsofts_pictures_are_the_articles_encoded_anew(kaggle, output, fill, summary):
    """Chosen by their numbers, without searching the rest of the archive."""
    photos = {key: encoded_anew(kaggle[key]) for key in kaggle if key[1] < 9}
    photos["cat", 2] = b""  # as the archive's Cat/666.jpg
    photos["dog", 11] = b"would not be read as a photo"
    members = as_microsoft(photos) | {"PetImages/Cat/Thumbs.db": b"no photo"}
    report = fill("kagglecatsanddogs_5340.zip", members)
    assert (report["photos"], report["exact"], report["encoded_anew"]) == (17, 0, 17)
    assert report["missing"] == {"train/cats/cat.2.jpg": "PetImages/Cat/2.jpg: the file is empty"}
    assert contents(output)["validation/cats/cat.7.jpg"] == photos["cat", 7]
    out = summary(report)
    assert "17 of the article's 18 pictures, encoded anew." in out
    assert "Missing: train/cats/cat.2.jpg (PetImages/Cat/2.jpg: the file is empty)" in out
    assert "other pictures" not in out


def test_pictures_are_found_under_other_numbers_however_encoded(
    kaggle, manifest, output, fill, summary
):
    photos = {
        key: content if key[1] % 2 else encoded_anew(content) for key, content in kaggle.items()
    }
    report = fill("kagglecatsanddogs_5340.zip", as_microsoft(renumbered(photos)))
    assert (report["exact"], report["encoded_anew"], report["others"]) == (8, 10, [])
    assert contents(output) == expected(photos, manifest)
    assert "18 of the article's 18 pictures, 10 of them encoded anew" in summary(report)


def test_a_photo_is_never_taken_twice(kaggle, output, fill, summary):
    """By picture or by number: neither twice in one set, nor in both."""
    photos = {key: encoded_anew(content) for key, content in kaggle.items() if key[1] < 9}
    photos["cat", 1] = photos["cat", 6]  # validation's, by its picture
    photos["dog", 7] = kaggle["dog", 20]  # another picture, by number
    photos["dog", 8] = kaggle["dog", 20]  # and again
    report = fill("kagglecatsanddogs_5340.zip", as_microsoft(photos))
    same = "the same picture as another one"
    assert report["missing"] == {"train/cats/cat.1.jpg": same, "validation/dogs/dog.8.jpg": same}
    assert report["others"] == ["validation/dogs/dog.7.jpg"]
    written = contents(output)
    assert len(set(written.values())) == len(written) == 16
    assert "1 are other pictures, so don't compare" in summary(report)


def test_googles_archive_has_other_validation_photos(kaggle, output, fill, summary):
    members = {
        f"cats_and_dogs_filtered/{split}/{kind}s/{kind}.{number}.jpg": kaggle[kind, number]
        for split, numbers in {"train": TRAIN, "validation": GOOGLE}.items()
        for kind in ("cat", "dog")
        for number in numbers
    }
    report = fill("cats_and_dogs_filtered.zip", members)
    assert (report["photos"], report["exact"]) == (18, 12)
    assert report["others"] == [
        f"validation/{kind}s/{kind}.{number}.jpg" for kind in ("cat", "dog") for number in GOOGLE
    ]
    assert contents(output)["validation/dogs/dog.21.jpg"] == kaggle["dog", 21]
    assert "6 are other pictures, so don't compare" in summary(report)


def test_the_real_manifest_is_the_articles_split():
    manifest = fingerprints.read_manifest()
    assert len(manifest) == len({digest for digest, _ in manifest.values()}) == 2800
    assert set(manifest) == {
        f"{split}/{kind}s/{kind}.{number}.jpg"
        for split, numbers in {"train": range(1000), "validation": range(1000, 1400)}.items()
        for kind in ("cat", "dog")
        for number in numbers
    }


def truncated(content):
    return content[: len(content) // 2]


def corrupt(content):
    return content[:200] + bytes(60) + content[260:]


@pytest.mark.parametrize("spoil", [truncated, corrupt])
def test_a_broken_archive_is_refused_and_earlier_photos_stay(
    kaggle, manifest, tmp_path, output, fill, spoil
):
    fill("train.zip", as_train_zip(kaggle))
    before = state(output)
    source = tmp_path / "train.zip"
    source.write_bytes(spoil(source.read_bytes()))
    with pytest.raises(InputError, match=r"train\.zip: not a complete zip archive"):
        prepare.prepare(source, output, manifest)
    assert state(output) == before


def link(name):
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("../../evil.jpg", b"", "refused, its member .*points outside"),
        ("train/../../cat.0.jpg", b"", "refused, its member .*points outside"),
        ("/etc/cat.0.jpg", b"", "refused, its member .*points outside"),
        ("..\\..\\evil.jpg", b"", "refused, its member .*points outside"),
        ("C:/cat.0.jpg", b"", "refused, its member .*points outside"),
        (link("train/cat.5.jpg"), b"/etc/passwd", "refused, its member .*is a link"),
        ("train/cat.5000.jpg", bytes(11 * 2**20), r"refused, its member .*has \d+ bytes"),
        ("train\\cat.5000.jpg", bytes(11 * 2**20), r"refused, its member .*has \d+ bytes"),
        ("train/dog.7.jpg", None, r"1 of the .*validation/dogs/dog\.7\.jpg \(not there\)"),
        ("train/cat.3.jpg", b"<p>", r"train/cats/cat\.3\.jpg \(.*: the file is not a picture"),
    ],
)
def test_bad_members_are_named(kaggle, tmp_path, fill, name, content, message):
    members = {**as_train_zip(kaggle), name: content}
    with pytest.raises(InputError, match=message):
        fill("train.zip", {name: given for name, given in members.items() if given is not None})
    assert contents(tmp_path) == {}


def test_a_broken_train_zip_inside_is_named(fill):
    with pytest.raises(InputError, match=r"^train\.zip in .*cats\.zip: not a complete zip"):
        fill("dogs-vs-cats.zip", {"train.zip": b"half"})


def test_other_archives_and_no_archive(manifest, tmp_path, output, fill):
    with pytest.raises(InputError, match="no cats and dogs"):
        fill("holidays.zip", {"beach.jpg": b"", "readme.txt": b""})
    with pytest.raises(InputError, match="no such file or folder"):
        prepare.prepare(tmp_path / "none.zip", output, manifest)


@pytest.mark.parametrize("step", range(8))
def test_an_interruption_at_any_step_is_made_good(
    kaggle, manifest, tmp_path, output, fill, monkeypatch, step
):
    """Old or new photos, never both, and the next start completes them."""
    old = {key: content + b"trailing" for key, content in kaggle.items() if key[1] < 12}
    fill("old.zip", as_microsoft(old))
    before = state(output)
    source = write_zip(tmp_path / "train.zip", as_train_zip(kaggle))

    calls = []

    def interrupted(function):
        def call(*arguments, **options):
            if len(calls) == step:
                raise KeyboardInterrupt
            calls.append(function)
            return function(*arguments, **options)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(prepare.files, "write_json", interrupted(files.write_json))
        patch.setattr(Path, "rename", interrupted(Path.rename))
        patch.setattr(Path, "rmdir", interrupted(Path.rmdir))
        if step < 6:  # write_json, rename to READY, three renames into place, rmdir
            with pytest.raises(KeyboardInterrupt):
                prepare.prepare(source, output, manifest)
        else:
            prepare.prepare(source, output, manifest)
            assert len(calls) == 6
    if step < 2:
        assert state(output) == before
    elif step < 5:
        assert (output / ".replacement").exists()
    report = prepare.prepare(source, output, manifest)
    assert_exactly_the_articles(report, output, kaggle, manifest)
    assert sorted(path.name for path in output.iterdir()) == ["photos.json", "train", "validation"]


@pytest.mark.parametrize("name", ["train/cats/mine.jpg", "validation/leaves/mine.jpg"])
def test_a_users_own_photos_are_not_replaced(kaggle, manifest, tmp_path, output, name):
    source = write_zip(tmp_path / "train.zip", as_train_zip(kaggle))
    mine, ours = output / name, output / "train/cats/cat.0.jpg"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")
    with pytest.raises(InputError, match=r"mine\.jpg: not from this script"):
        prepare.main(prepare.parse([str(source), "--output", str(output)]))
    mine.unlink()
    prepare.prepare(source, output, manifest)
    ours.write_bytes(b"mine")  # put among ours, or edited
    with pytest.raises(InputError, match=r"cat\.0\.jpg: not from this script"):
        prepare.prepare(source, output, manifest)
    ours.unlink()
    prepare.prepare(source, output, manifest)


class Server(http.server.BaseHTTPRequestHandler):
    """Serves `content`, at first only a part of it, with HTTP's range requests."""

    content, asked, limit = b"", [], None

    def do_GET(self):
        start = int((self.headers["Range"] or "bytes=0-")[6:-1])
        self.asked.append(start)
        if start >= len(self.content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(self.content)}")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(self.content) - start))
        self.end_headers()
        stop = len(self.content) if self.limit is None else self.limit
        self.wfile.write(self.content[start:stop])

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    server = http.server.HTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Server.content, Server.asked, Server.limit = bytes(range(256)) * 1000, [], None
    yield f"http://127.0.0.1:{server.server_port}/archive.zip"
    server.shutdown()
    server.server_close()


def test_a_download_resumes_where_it_stopped(server, tmp_path):
    path = tmp_path / "archive.zip"
    Server.limit = 100_000
    with pytest.raises(InputError, match="run again to resume"):
        prepare.download(server, path)
    assert not path.exists()
    Server.limit = None
    prepare.download(server, path)
    assert Server.asked == [0, 100_000]
    assert path.read_bytes() == Server.content
    path.rename(tmp_path / "archive.zip.part")  # complete, but not renamed yet
    prepare.download(server, path)
    assert path.read_bytes() == Server.content


def test_no_network_is_one_line(tmp_path):
    with pytest.raises(InputError, match="make data ARCHIVE=FILE"):
        prepare.download("http://127.0.0.1:9/archive.zip", tmp_path / "archive.zip")


def test_errors_are_one_line_with_status_2(tmp_path, monkeypatch, capsys):
    (tmp_path / "train.zip").write_text("no zip")
    argv = ["data.py", str(tmp_path / "train.zip"), "--output", str(tmp_path / "data")]
    monkeypatch.setattr("sys.argv", argv)
    with pytest.raises(SystemExit) as stop:
        cli.run(lambda: prepare.main(prepare.parse()))
    assert stop.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
