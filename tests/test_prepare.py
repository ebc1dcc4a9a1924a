"""Archives: each known layout, compared with the manifest; broken and hostile ones refused."""

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
    """{(class, number): JPEG bytes}: as many photos as these tests call the article's, and more."""
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


def as_train_zip(photos):
    return {f"train/{kind}.{number}.jpg": content for (kind, number), content in photos.items()}


def as_microsoft(photos):
    return {
        f"PetImages/{kind.capitalize()}/{number}.jpg": content
        for (kind, number), content in photos.items()
    }


def contents(output):
    return {
        path.relative_to(output).as_posix(): path.read_bytes() for path in output.rglob("*.jpg")
    }


def expected(kaggle, manifest):
    return {
        path: kaggle[path.split("/")[2].split(".")[0], int(path.split(".")[1])] for path in manifest
    }


def assert_exactly_the_articles(report, output, kaggle, manifest):
    assert (report["photos"], report["exact"], report["encoded_anew"]) == (18, 18, 0)
    assert (report["others"], report["missing"]) == ([], {})
    assert contents(output) == expected(kaggle, manifest)
    assert not (output / ".partial").exists()


def test_kaggles_train_zip(kaggle, manifest, tmp_path, output, capsys):
    source = write_zip(tmp_path / "train.zip", as_train_zip(kaggle))
    report = prepare.prepare(source, output, manifest)
    assert_exactly_the_articles(report, output, kaggle, manifest)
    prepare.tell(report, output, len(manifest))
    assert "exactly the photos behind the README's numbers" in capsys.readouterr().out


def test_kaggles_archive_with_train_zip_inside(kaggle, manifest, tmp_path, output):
    inner = write_zip(tmp_path / "inner.zip", as_train_zip(kaggle)).read_bytes()
    source = write_zip(
        tmp_path / "dogs-vs-cats.zip",
        {"train.zip": inner, "test1.zip": b"not read", "sampleSubmission.csv": b"id,label"},
    )
    report = prepare.prepare(source, output, manifest)
    assert_exactly_the_articles(report, output, kaggle, manifest)


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


def test_microsofts_archive_is_matched_by_content(kaggle, manifest, tmp_path, output):
    shuffled = {
        (kind, (number * 5 + 3) % 12): kaggle[kind, number]
        for kind, number in kaggle
        if number < 12
    }
    source = write_zip(tmp_path / "kagglecatsanddogs_5340.zip", as_microsoft(shuffled))
    report = prepare.prepare(source, output, manifest)
    assert_exactly_the_articles(report, output, kaggle, manifest)


def encoded_anew(content, quality=90):
    anew = io.BytesIO()
    Image.open(io.BytesIO(content)).save(anew, "JPEG", quality=quality)
    return anew.getvalue()


def test_microsofts_pictures_are_the_articles_encoded_anew(
    kaggle, manifest, tmp_path, output, capsys
):
    """Taken by their numbers, without a look at the rest of the archive."""
    photos = {key: encoded_anew(kaggle[key]) for key in kaggle if key[1] < 9}
    photos["cat", 2] = b""  # as the archive's Cat/666.jpg
    photos["dog", 11] = b"would not be read as a photo"
    members = as_microsoft(photos) | {"PetImages/Cat/Thumbs.db": b"no photo"}
    source = write_zip(tmp_path / "kagglecatsanddogs_5340.zip", members)
    report = prepare.prepare(source, output, manifest)
    assert (report["photos"], report["exact"], report["encoded_anew"]) == (17, 0, 17)
    assert report["missing"] == {"train/cats/cat.2.jpg": "PetImages/Cat/2.jpg: the file is empty"}
    assert contents(output)["validation/cats/cat.7.jpg"] == photos["cat", 7]
    prepare.tell(report, output, len(manifest))
    out = capsys.readouterr().out
    assert "17 of the article's 18 pictures, encoded anew." in out
    assert "Left out: train/cats/cat.2.jpg (PetImages/Cat/2.jpg: the file is empty)" in out
    assert "no measure" not in out


def test_pictures_are_found_under_other_numbers_however_encoded(
    kaggle, manifest, tmp_path, output, capsys
):
    photos = {
        (kind, (number * 5 + 3) % 12): content if number % 2 else encoded_anew(content)
        for (kind, number), content in kaggle.items()
        if number < 12
    }
    source = write_zip(tmp_path / "kagglecatsanddogs_5340.zip", as_microsoft(photos))
    report = prepare.prepare(source, output, manifest)
    assert (report["exact"], report["encoded_anew"], report["others"]) == (8, 10, [])
    written = contents(output)
    for path, content in expected(kaggle, manifest).items():
        anew = int(path.split(".")[1]) % 2 == 0
        assert written[path] == (encoded_anew(content) if anew else content)
    prepare.tell(report, output, len(manifest))
    assert "18 of the article's 18 pictures, 10 of them encoded anew" in capsys.readouterr().out


def test_a_photo_is_never_taken_twice(kaggle, manifest, tmp_path, output, capsys):
    """By what it shows nor by number: neither twice in one set, nor in both."""
    photos = {key: encoded_anew(content) for key, content in kaggle.items() if key[1] < 9}
    photos["cat", 1] = photos["cat", 6]  # validation's, by its picture
    photos["dog", 7] = kaggle["dog", 20]  # another picture, by number
    photos["dog", 8] = kaggle["dog", 20]  # and again
    source = write_zip(tmp_path / "kagglecatsanddogs_5340.zip", as_microsoft(photos))
    report = prepare.prepare(source, output, manifest)
    same = "the same picture as another one"
    assert report["missing"] == {"train/cats/cat.1.jpg": same, "validation/dogs/dog.8.jpg": same}
    assert report["others"] == ["validation/dogs/dog.7.jpg"]
    written = contents(output)
    assert len(set(written.values())) == len(written) == 16
    prepare.tell(report, output, len(manifest))
    assert (
        "1 are other pictures, so the article's numbers are no measure" in capsys.readouterr().out
    )


def test_googles_archive_has_other_validation_photos(kaggle, manifest, tmp_path, output, capsys):
    members = {
        f"cats_and_dogs_filtered/{split}/{kind}s/{kind}.{number}.jpg": kaggle[kind, number]
        for split, numbers in {"train": TRAIN, "validation": GOOGLE}.items()
        for kind in ("cat", "dog")
        for number in numbers
    }
    source = write_zip(tmp_path / "cats_and_dogs_filtered.zip", members)
    report = prepare.prepare(source, output, manifest)
    assert (report["photos"], report["exact"]) == (18, 12)
    assert sorted(report["others"]) == sorted(
        f"validation/{kind}s/{kind}.{number}.jpg" for kind in ("cat", "dog") for number in GOOGLE
    )
    assert contents(output)["validation/dogs/dog.21.jpg"] == kaggle["dog", 21]
    prepare.tell(report, output, len(manifest))
    assert "6 are other pictures, so the article's numbers" in capsys.readouterr().out


def test_the_real_manifest_is_the_articles_split():
    manifest = fingerprints.read_manifest()
    assert len(manifest) == len({digest for digest, _ in manifest.values()}) == 2800
    assert set(manifest) == {
        f"{split}/{kind}s/{kind}.{number}.jpg"
        for split, numbers in {"train": range(1000), "validation": range(1000, 1400)}.items()
        for kind in ("cat", "dog")
        for number in numbers
    }


def truncated(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def corrupt(path):
    content = bytearray(path.read_bytes())
    content[200:260] = bytes(60)
    path.write_bytes(content)


@pytest.mark.parametrize("spoil", [truncated, corrupt])
def test_broken_archives_are_refused(kaggle, manifest, tmp_path, output, spoil):
    source = write_zip(tmp_path / "train.zip", as_train_zip(kaggle))
    spoil(source)
    with pytest.raises(InputError, match=r"train\.zip: not a whole zip archive"):
        prepare.prepare(source, output, manifest)


def link(name):
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("../../evil.jpg", b"", "climbs out"),
        ("train/../../cat.0.jpg", b"", "climbs out"),
        ("/etc/cat.0.jpg", b"", "climbs out"),
        ("..\\..\\evil.jpg", b"", "climbs out"),
        ("C:/cat.0.jpg", b"", "climbs out"),
        (link("train/cat.5.jpg"), b"/etc/passwd", "is a link"),
        ("train/cat.5000.jpg", bytes(11 * 2**20), r"has \d+ bytes"),
    ],
)
def test_hostile_archives_are_refused(kaggle, manifest, tmp_path, output, name, content, message):
    source = write_zip(tmp_path / "train.zip", {**as_train_zip(kaggle), name: content})
    with pytest.raises(InputError, match=f"refused, its member .*{message}"):
        prepare.prepare(source, output, manifest)
    assert contents(tmp_path) == {}


def test_a_missing_photo_is_named(kaggle, manifest, tmp_path, output):
    photos = {key: content for key, content in kaggle.items() if key != ("dog", 7)}
    source = write_zip(tmp_path / "train.zip", as_train_zip(photos))
    with pytest.raises(InputError, match=r"1 of the .*validation/dogs/dog\.7\.jpg \(not there\)"):
        prepare.prepare(source, output, manifest)


def test_a_member_that_is_no_picture_is_named(kaggle, manifest, tmp_path, output):
    photos = {**kaggle, ("cat", 3): b"<html>404</html>"}
    source = write_zip(tmp_path / "train.zip", as_train_zip(photos))
    with pytest.raises(InputError, match=r"train/cats/cat\.3\.jpg \(.*: the file is not a picture"):
        prepare.prepare(source, output, manifest)


def test_a_broken_train_zip_inside_is_named(manifest, tmp_path, output):
    source = write_zip(tmp_path / "dogs-vs-cats.zip", {"train.zip": b"half"})
    with pytest.raises(InputError, match=r"^train\.zip in .*dogs-vs-cats\.zip: not a whole zip"):
        prepare.prepare(source, output, manifest)


def test_other_archives_and_no_archive(manifest, tmp_path, output):
    source = write_zip(tmp_path / "holidays.zip", {"beach.jpg": b"", "readme.txt": b""})
    with pytest.raises(InputError, match="no cats and dogs"):
        prepare.prepare(source, output, manifest)
    with pytest.raises(InputError, match="no such file or folder"):
        prepare.prepare(tmp_path / "none.zip", output, manifest)


def test_an_error_leaves_earlier_photos_alone(kaggle, manifest, tmp_path, output):
    source = write_zip(tmp_path / "train.zip", as_train_zip(kaggle))
    prepare.prepare(source, output, manifest)
    before = contents(output), (output / "photos.json").read_text()
    truncated(source)
    with pytest.raises(InputError):
        prepare.prepare(source, output, manifest)
    assert (contents(output), (output / "photos.json").read_text()) == before


@pytest.mark.parametrize("step", range(8))
def test_interrupted_at_any_step_and_taken_up(
    kaggle, manifest, tmp_path, output, monkeypatch, step
):
    """Old or new photos, never both, and the next start makes them complete."""
    old = {key: content + b"trailing" for key, content in kaggle.items() if key[1] < 12}
    prepare.prepare(write_zip(tmp_path / "old.zip", as_microsoft(old)), output, manifest)
    before = contents(output), (output / "photos.json").read_text()
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
        assert (contents(output), (output / "photos.json").read_text()) == before
    elif step < 5:
        assert (output / ".replacement").exists()
    report = prepare.prepare(source, output, manifest)
    assert_exactly_the_articles(report, output, kaggle, manifest)
    assert sorted(path.name for path in output.iterdir()) == ["photos.json", "train", "validation"]


@pytest.mark.parametrize("name", ["train/cats/mine.jpg", "validation/leaves/mine.jpg"])
def test_a_users_own_photos_are_not_replaced(kaggle, manifest, tmp_path, output, name):
    source = write_zip(tmp_path / "train.zip", as_train_zip(kaggle))
    mine = output / name
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")
    with pytest.raises(InputError, match=r"mine\.jpg: not from this script"):
        prepare.main(prepare.parse([str(source), "--output", str(output)]))
    mine.unlink()
    prepare.prepare(source, output, manifest)
    (output / "train/cats/cat.0.jpg").write_bytes(b"mine")  # put among ours, or edited
    with pytest.raises(InputError, match=r"cat\.0\.jpg: not from this script"):
        prepare.prepare(source, output, manifest)
    (output / "train/cats/cat.0.jpg").unlink()
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


def test_an_interrupted_download_goes_on_where_it_stopped(server, tmp_path):
    path = tmp_path / "archive.zip"
    Server.limit = 100_000
    with pytest.raises(InputError, match="run again to go on"):
        prepare.download(server, path)
    assert not path.exists()
    Server.limit = None
    prepare.download(server, path)
    assert Server.asked == [0, 100_000]
    assert path.read_bytes() == Server.content


def test_a_download_that_was_whole_but_not_renamed(server, tmp_path):
    path = tmp_path / "archive.zip"
    (tmp_path / "archive.zip.part").write_bytes(Server.content)
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
