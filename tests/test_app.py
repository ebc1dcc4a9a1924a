"""The page: its class activation maps, its uploads, a browser on it, and what it must not do.

    python tests/test_app.py --screenshot FILE [--vgg16-weights FILE]

draws cats and dogs, trains the models on them, and takes the README's picture of the page.
The tests of the page need requirements-app.txt; those with a browser
requirements-app-test.txt, too, and Chromium, Playwright's own or the system's.
"""

import argparse
import contextlib
import http.client
import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "scripts"))  # pytest has it already

import app

if sys.modules["bottleneck"] is None:  # without pytest, see conftest.py
    del sys.modules["bottleneck"]

import best
import bottleneck
from common import cli
import draw
import finetune
from common import gradcam
import keras
import numpy as np
from common import networks, parsers
import pytest
import scratch
import small
from conftest import POSTSCRIPT, SMALL
from keras import layers
from PIL import Image

ROOT = Path(__file__).parent.parent
# In the page's order, with the shapes of their maps.
EXPERIMENTS = {"best": (3, 3), "finetune": (3, 3), "bottleneck": (3, 3), "scratch": (8, 8)}
SMALL_SERVER = f"""
import runpy, sys
sys.path[:0] = {[str(ROOT / "scripts"), str(ROOT / "tests")]!r}
from common import backend
import small
small.shrink()
sys.argv[0] = {str(ROOT / "scripts" / "app.py")!r}
runpy.run_path(sys.argv[0], run_name="__main__")
"""
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def train(data, folder, epochs, *options, vgg16_weights="random"):
    """All four models, in `folder`."""
    for script in scratch, bottleneck, finetune, best:
        own = ["--data", data, "--weights", folder, *options]
        own += [] if script is best else ["--epochs", epochs[script]]
        own += [] if script is scratch else ["--vgg16-weights", vgg16_weights]
        small.start(script, own)


@pytest.fixture(scope="module")
def folders(drawings, tmp_path_factory):
    """Models of two classes in mixed_bfloat16, and of three, among them "a_b *c*", in float32."""
    epochs = dict.fromkeys((scratch, bottleneck, finetune), 1)
    two, three, data = (tmp_path_factory.mktemp(name) for name in ("two", "three", "data"))
    train(drawings, two, epochs, "--precision", "mixed_bfloat16")
    for kind in "cat", "dog", "a_b *c*":
        (data / "three" / kind).mkdir(parents=True)
    for number in range(30):
        kind = ("cat", "dog", "a_b *c*")[number % 3]
        random = draw.random.Random(number)
        picture = draw.drawing(kind, random) if "*" not in kind else draw.background(random)
        picture.save(data / "three" / kind / f"{number}.jpg")
    train(data / "three", three, epochs, "--precision", "float32")
    keras.config.set_dtype_policy("float32")
    return {2: two, 3: three}


@pytest.fixture(scope="module")
def models(folders):
    """{number of classes: the page's models}."""
    loaded = {}
    for classes, folder in folders.items():
        arguments = parsers.model("").parse_args(["--weights", str(folder)])
        loaded[classes] = app.load(parsers.find_models(arguments), "random")
    return loaded


@pytest.fixture(scope="module")
def photo(drawings):
    return drawings / "validation" / "cats" / "cat.0.jpg"


def predicted(model, path):
    """What predict.py says of a photo."""
    ((_, answer, problem),) = networks.predict(model.network, model.record, [path])
    assert problem is None
    return answer


# The class activation map.


def corners(units, activation, dtype="float32"):
    """A network that looks for red in the upper left corner and for green in the lower right.

    Its first convolution tells the colours apart; of its dense units, the one for red gets
    all of the former's weights, the one for green the latter's. So sure is it that its
    probabilities are 0 and 1 in float32.
    """
    keras.config.set_dtype_policy(dtype)
    network = keras.Sequential([keras.Input((16, 16, 3))])
    network.add(layers.Conv2D(3, 1))
    network.add(layers.Activation("relu"))
    network.add(layers.MaxPooling2D())
    network.add(layers.Flatten())
    network.add(layers.Dense(units, activation=activation, dtype="float32"))
    keras.config.set_dtype_policy("float32")
    red, green = np.zeros((2, 8, 8, 3))
    red[:4, :4, 0] = 20
    green[4:, 4:, 1] = 20
    kernel = [red - green] if units == 1 else [green, red, 0 * red]
    network.layers[0].set_weights([np.eye(3).reshape(1, 1, 3, 3), np.zeros(3)])
    network.layers[-1].set_weights([np.stack(kernel, axis=-1).reshape(-1, units), np.zeros(units)])
    return network


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize(("units", "activation"), [(1, "sigmoid"), (3, "softmax")])
def test_the_map_is_brightest_where_the_answer_comes_from(units, activation, dtype):
    photo = np.zeros((1, 16, 16, 3), np.float32)
    photo[0, 1:4, 2:5, 0] = 0.6  # red, and darker than the green
    photo[0, 10:15, 9:14, 1] = 1
    photo[0, 1:4, 10:14, 2] = 1  # blue, which no answer depends on
    parts = gradcam.split(corners(units, activation, dtype))
    green, red = (gradcam.class_activation_map(*parts, photo, number) for number in (0, 1))
    np.testing.assert_array_equal(red > 0.5, photo[0, ..., 0] > 0)
    np.testing.assert_array_equal(green > 0.5, photo[0, ..., 1] > 0)
    for heat in red, green:
        assert heat.dtype == np.float32 and heat.max() == 1 and heat.min() == 0
        assert heat[photo[0, ..., 2] > 0].max() == 0
    if units == 3:  # nothing speaks for the last class
        assert not gradcam.class_activation_map(*parts, photo, 2).any()


def test_the_heat_lies_over_its_place_and_nothing_else_changes():
    picture = np.full((30, 60, 3), 100, np.uint8)
    heat = np.zeros((3, 6), np.float32)
    heat[0, 5] = 1
    result = gradcam.overlay(picture, heat).astype(int)
    assert result.shape == picture.shape
    np.testing.assert_array_equal(result[:, :40], 100)
    np.testing.assert_array_equal(result[20:], 100)
    red, green, blue = result[2, 57]
    assert red > 150 and green > 150 and blue < 50


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_all_models_answer_as_predict_does_and_have_a_map(models, name, classes, photo):
    model = dict(zip(EXPERIMENTS, models[classes], strict=True))[name]
    assert model.record["experiment"] == name
    expected = predicted(model, photo)
    answer, heat = app.classify(model, photo.read_bytes())
    np.testing.assert_allclose(answer, expected, atol=1e-5)
    assert heat.shape == EXPERIMENTS[name]
    assert heat.dtype == np.float32 and np.isfinite(heat).all() and heat.min() >= 0
    # The map's two parts are the network, but for the sigmoid or softmax.
    pixels = np.random.default_rng(0).random((1, *SMALL, 3), np.float32)
    scores = model.scores(model.maps(pixels, training=False), training=False)
    activation = keras.ops.sigmoid if classes == 2 else keras.ops.softmax
    precision = 1e-5 if classes == 3 else 0.02  # bfloat16's is 0.4 %
    whole = model.network(pixels, training=False)
    np.testing.assert_allclose(activation(scores), whole, atol=precision)
    for number in range(classes):  # each has a map, and most maps are not empty
        heat = gradcam.class_activation_map(model.maps, model.scores, pixels, number)
        assert heat.max() in (0, 1)
    np.testing.assert_array_equal(predicted(model, photo), expected)  # the network is as before


# Uploads.


def saved(picture, kind, **options):
    """A picture's file."""
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def huge_png(width, height):
    """A PNG file of black pixels, a bit each, that is small itself."""

    def chunk(kind, data):
        body = kind + data
        return len(data).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")

    pixels = zlib.compressobj()
    row = bytes(1 + (width + 7) // 8)
    data = b"".join(pixels.compress(row) for _ in range(height)) + pixels.flush()
    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([1, 0, 0, 0, 0])
    parts = chunk(b"IHDR", head), chunk(b"IDAT", data), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda photo: b"", "the file is empty"),
        (lambda photo: b"<script>alert(1)</script>", "the file is not a picture"),
        (lambda photo: POSTSCRIPT, "the file is not a picture"),
        (lambda photo: photo[:600], "truncated"),
        (lambda photo: photo[:-600], "truncated"),
        (lambda photo: huge_png(30000, 30000), "could be decompression bomb"),
        (lambda photo: huge_png(10000, 9000), "it has more than 89 megapixels"),
    ],
)
def test_what_is_no_photo_has_a_short_message(models, photo, content, message):
    told = app.problem(content(photo.read_bytes()), models[2])
    assert message in told.lower() and len(told) < 120


def odd_photos(photo):
    """{name: bytes} of pictures that must be read, each in a way of its own."""
    with Image.open(photo) as picture:
        picture.load()
    exif = picture.getexif()
    exif[0x0112] = 6  # turn it by a quarter
    turned = picture.rotate(90)
    return {
        "of 50 megapixels.jpg": saved(picture.resize((8000, 6250)), "JPEG"),
        "moving.gif": saved(picture, "GIF", save_all=True, append_images=[turned], loop=0),
        "cmyk.jpg": saved(picture.convert("CMYK"), "JPEG"),
        "turned.jpg": saved(picture, "JPEG", exif=exif),
        "transparent.png": saved(picture.convert("RGBA"), "PNG"),
        "16 bits.png": saved(Image.fromarray(np.arange(2500, dtype="u2").reshape(50, 50)), "PNG"),
        "line.png": saved(picture.resize((3000, 1)), "PNG"),
    }


def test_odd_photos_are_read_as_predict_reads_them(models, photo, tmp_path):
    model = models[3][-1]
    for name, content in odd_photos(photo).items():
        (tmp_path / name).write_bytes(content)
        assert app.problem(content, models[3]) is None, name
        answer, heat = app.classify(model, content)
        np.testing.assert_allclose(answer, predicted(model, tmp_path / name), atol=1e-5)
        assert gradcam.overlay(networks.show(content, model.record, app.SHOWN), heat).shape[-1] == 3


def test_the_photo_is_shown_as_the_network_sees_it(models, photo):
    record = models[2][0].record
    content = saved(Image.new("RGB", (100, 50)), "PNG")
    assert networks.show(content, record, app.SHOWN).shape == (200, 400, 3)
    cropping = {"preprocessing": {**record["preprocessing"], "keep_aspect_ratio": True}}
    cropped = networks.show(content, record | cropping, app.SHOWN)
    assert cropped.shape == (400, 400, 3)
    with Image.open(photo) as picture:
        width, height = picture.size
    for number, upright in (0, True), (-1, False):  # best turns it, the small convnet does not
        model = models[2][number].record
        shown = networks.show(odd_photos(photo)["turned.jpg"], model, app.SHOWN)
        assert (shown.shape[1] > shown.shape[0]) == ((width > height) != upright)


# The command line.


def refusal(monkeypatch, capsys, *options):
    """The script's one-line error message."""
    monkeypatch.setattr(sys, "argv", ["app.py", *map(str, options)])
    with pytest.raises(SystemExit) as stop:
        cli.run(lambda: small.start(app))
    (line,) = capsys.readouterr().err.splitlines()
    assert stop.value.code == 2
    return line


def test_without_streamlit_there_is_help_and_one_line(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "streamlit", None)
    assert "`make app` installs it" in refusal(monkeypatch, capsys)
    with pytest.raises(SystemExit) as stop:
        app.parse(["--help"])
    assert stop.value.code == 0


@pytest.fixture(scope="module")
def streamlit():
    reason = "Streamlit is not installed; `make app` installs it"
    return pytest.importorskip("streamlit", reason=reason)


def test_a_port_that_is_taken_and_a_folder_without_models(
    streamlit, folders, monkeypatch, capsys, tmp_path
):
    assert "no model there yet" in refusal(monkeypatch, capsys, "--weights", tmp_path)
    monkeypatch.setattr(app, "load", lambda paths, vgg16_weights, times: [])
    with socket.create_server((app.ADDRESS, 0)) as other:
        port = other.getsockname()[1]
        told = refusal(monkeypatch, capsys, "--weights", folders[2], "--port", port)
    assert f"port {port}: " in told and "in use" in told
    told = refusal(monkeypatch, capsys, "--weights", folders[2], "--port", 70000)
    assert "port 70000: " in told


def test_a_retrained_model_is_loaded_again(streamlit, folders, monkeypatch, capsys):
    loads = []
    monkeypatch.setattr(app, "load", lambda paths, vgg16_weights, times: loads.append(paths))
    for count in 1, 1, 2:
        if count == 2:
            path = loads[0][0]
            os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns + 1_000_000))
        refusal(monkeypatch, capsys, "--weights", folders[2], "--port", 70000)
        assert len(loads) == count


# The page, without a browser.


@pytest.fixture
def testing(streamlit, models, monkeypatch):
    """Streamlit's own stand-in for a browser, on the page with models of three classes."""
    from streamlit.testing.v1 import AppTest

    def run():
        import app

        app.page(app.MODELS_TO_TEST)

    monkeypatch.setattr(app, "MODELS_TO_TEST", models[3], raising=False)
    # It replaces this module, which multiprocessing starts other processes with.
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    return AppTest.from_function(run, default_timeout=120).run()


def uploaded(paths, folder=""):
    return [(f"{folder}{path.name}", path.read_bytes(), "image/jpeg") for path in paths]


def test_several_photos_at_once(testing, models, drawings, monkeypatch):
    photos = sorted((drawings / "validation/cats").glob("*.jpg"))[:3]
    broken = ("broken.jpg", photos[0].read_bytes()[:400], "image/jpeg")
    testing.file_uploader[0].set_value([*uploaded(photos), broken]).run()
    assert not testing.exception
    (error,) = testing.error
    assert error.value.startswith("broken\\.jpg: can't be read")
    assert [header.value for header in testing.header] == [app.escaped(p.name) for p in photos]
    tables = [markdown.value for markdown in testing.markdown if "taken for" in markdown.value]
    for model, table in zip(models[3], tables, strict=True):
        names = networks.class_names(model.record)
        taken = [names[predicted(model, photo).argmax()] for photo in photos]
        for name in set(taken):
            assert f"{app.escaped(name)} {taken.count(name)}" in table
    # Another photo: those before are not looked at again.
    looked = []
    classify = app.classify
    monkeypatch.setattr(app, "classify", lambda *a: looked.append(a) or classify(*a))
    more = sorted((drawings / "validation/dogs").glob("*.jpg"))[:1]
    testing.file_uploader[0].set_value(uploaded([*photos, *more])).run()
    assert len(looked) == len(models[3]) and len(testing.header) == 4


def test_a_folder_of_class_folders_is_counted(testing, models, drawings, monkeypatch):
    monkeypatch.setattr(app, "DETAILED", 2)
    drawn = drawings / "validation"
    cats, dogs = (sorted((drawn / name).glob("*.jpg"))[:3] for name in ("cats", "dogs"))
    odd = [("data/cats/@eaDir/1.jpg", b"x", ""), ("data/notes.txt", b"x", "")]
    files = uploaded(cats, "data/cats/") + uploaded(dogs, "data/dogs/") + odd
    testing.file_uploader[1].set_value(files).run()
    assert not testing.exception and not testing.error
    tables = [markdown.value for markdown in testing.markdown if "taken for" in markdown.value]
    assert len(tables) == len(models[3])
    for model, table in zip(models[3], tables, strict=True):
        rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in table.splitlines()]
        assert [row[:2] for row in rows[2:]] == [["cats", "3"], ["dogs", "3"]]
        names = networks.class_names(model.record)
        for photos, (_, _, told) in zip((cats, dogs), rows[2:], strict=True):
            taken = [names[predicted(model, photo).argmax()] for photo in photos]
            expected = {f"{app.escaped(name)} {taken.count(name)}" for name in taken}
            assert set(told.replace("\\,", ",").split(", ")) == expected
    assert len(testing.header) == 2
    assert any("first 2 of 6 photos" in markdown.value for markdown in testing.markdown)


# The page, served.


@contextlib.contextmanager
def serving(*options, start=("-c", SMALL_SERVER)):
    """Serve the page, with these options, in a process of its own; its port.

    start: what Python is to run; by default, the page with the small VGG16.
    """
    with socket.create_server((app.ADDRESS, 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as home:  # where no settings are
        command = [sys.executable, *start, "--port", port, *options]
        server = subprocess.Popen(
            list(map(str, command)),
            env={**os.environ, "HOME": home},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            for _ in range(600):
                with contextlib.suppress(OSError):
                    if ask(port, "GET", "/_stcore/health")[0] == 200:
                        break
                assert server.poll() is None, server.stdout.read()
                time.sleep(0.2)
            yield port
        finally:
            server.send_signal(signal.SIGINT)
            output, _ = server.communicate(timeout=60)
        # Stopped under an open page, Streamlit 1.67 complains of the page.
        assert server.returncode == 0 and "Traceback" not in output.split("Stopping...")[0], output
        assert not list(Path(home).rglob("*streamlit*"))


@pytest.fixture(scope="module")
def port(streamlit, folders):
    with serving("--weights", folders[3], "--vgg16-weights", "random") as port:
        yield port


def ask(port, method, path, body=None, **headers):
    """The status and the body of an answer; the path goes out as it is."""
    connection = http.client.HTTPConnection(app.ADDRESS, port, timeout=60)
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, b"" if answer.status == 101 else answer.read()
    finally:
        connection.close()


def test_no_file_of_the_computer_is_served(port):
    secrets = {Path("/etc/passwd"): b"root:", ROOT / "scripts/app.py": b"allowedHosts"}
    routes = "", "/static", "/media", "/app/static", "/component", "/_stcore/bidi-components"
    routes += "/_stcore/component", "/component/app", "/gradio_api/file=", "/file=", "/app"
    for path, secret in secrets.items():
        assert secret in path.read_bytes()
        ups = "", "/..", "/%2e%2e", "/..%2f", "/%252e%252e", "/.\\.."
        ways = [f"{up * 9}{path}" for up in ups]
        ways += ["//" + str(path), str(path).replace("/", "%2f"), f"/{path.name}"]
        ways += [f"/file://{path}", f"?path={path}", "/../" + path.name]
        for route in routes:
            for way in ways:
                _, body = ask(port, "GET", route + way or "/")
                assert secret not in body, route + way


def test_no_program_drives_the_page(port):
    for path in "/_stcore/agent/interact", "/_stcore/agent/mcp":
        status, body = ask(port, "POST", path, b"{}", Content_Type="application/json")
        assert status >= 400 and b"does not serve the agent API" in body
    upload = "/_stcore/upload_file/session/file"
    assert ask(port, "PUT", upload, b"x" * 100)[0] == 403  # without the page's token


def test_no_other_site_speaks_with_the_page(port):
    greeting = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec_WebSocket_Version": "13",
        "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }

    def status(host, origin):
        headers = greeting | {"Host": f"{host}:{port}", "Origin": f"http://{origin}:{port}"}
        return ask(port, "GET", "/_stcore/stream", **headers)[0]

    assert status("127.0.0.1", "127.0.0.1") == status("localhost", "localhost") == 101
    assert status("evil.example", "evil.example") == 403  # a name made to mean 127.0.0.1
    assert status("127.0.0.1", "evil.example") == status("evil.example", "127.0.0.1") == 403


def test_only_this_computer_can_open_the_page(port):
    own = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), port)}
    for address in {*own, "127.0.0.2", "::1"} - {app.ADDRESS}:
        with pytest.raises(OSError):
            socket.create_connection((address, port), timeout=5)
    socket.create_connection((app.ADDRESS, port), timeout=5).close()


@contextlib.contextmanager
def browsing():
    """A browser's window. Skips the test where there is no browser."""
    playwright = pytest.importorskip(
        "playwright.sync_api",
        reason="Playwright is not installed: pip install -r requirements-app-test.txt",
    )
    with playwright.sync_playwright() as driver:
        found = [driver.chromium.executable_path, *map(shutil.which, BROWSERS)]
        found = [path for path in found if path and Path(path).exists()]
        if not found:
            pytest.skip("no Chromium: apt install chromium, or playwright install chromium")
        # As root, which containers are, Chromium has no sandbox of its own.
        options = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = driver.chromium.launch(executable_path=found[0], args=options)
        yield browser.new_page(viewport={"width": 1200, "height": 1200})
        browser.close()


SEEN = """() => {
    const all = (selector) => [...document.querySelectorAll(selector)];
    return {
        idle: all("[data-testid=stApp][data-test-script-state=notRunning]").length,
        messages: all("[data-testid=stAlert]").map((message) => message.innerText),
        pictures: all("[data-testid=stImage] img").map((picture) => picture.src),
    };
}"""


def upload(window, path, models):
    """Give a new page a file; wait until it has done; its message, or None if it has answers."""

    def told():
        """The messages, or None while the page is busy."""
        seen = window.evaluate(SEEN)  # all at once: the page changes any time
        messages, pictures = seen["messages"], seen["pictures"]
        whole = (len(messages), len(pictures)) in ((1, 0), (0, models))
        return messages if seen["idle"] and whole else None

    window.reload()  # or the file would be one more
    window.locator("input[type=file]").first.set_input_files(path)  # the second is for folders
    end = time.monotonic() + 300
    while (messages := told()) is None:
        assert time.monotonic() < end, window.inner_text("body")
        window.wait_for_timeout(100)
    return messages[0] if messages else None


def read(window):
    """The page's answers: for each model its heading, [(class, probability)], and caption."""
    columns = window.locator("[data-testid=stColumn]").filter(has=window.locator("h3"))
    answers = []
    for column in columns.all():
        bars = column.locator("[data-testid=stProgress]").all_inner_texts()
        bars = [bar.strip().rsplit(" ", 1) for bar in bars]
        caption = column.locator("[data-testid=stImageCaption]").inner_text()
        told = [(name, float(number)) for name, number in bars]
        answers.append((column.locator("h3").inner_text(), told, caption))
    return answers


def test_a_browser_on_the_page(port, models, photo, drawings, tmp_path):
    with browsing() as window:
        window.set_default_timeout(120_000)
        asked = []
        window.on("request", lambda request: asked.append(request))
        window.on("websocket", lambda socket: asked.append(socket))
        window.goto(f"http://{app.ADDRESS}:{port}")

        def check(path):
            assert upload(window, path, len(models[3])) is None
            for model, answer in zip(models[3], read(window), strict=True):
                expected = predicted(model, path)
                order = np.argsort(-expected)
                names = networks.class_names(model.record)
                heading, told, caption = answer
                assert heading == model.record["experiment"]
                assert [name for name, _ in told] == [names[number] for number in order]
                np.testing.assert_allclose([p for _, p in told], expected[order], atol=1e-4)
                assert caption.endswith(names[order[0]])
            pictures = window.locator("[data-testid=stImage] img")
            for model, picture in zip(models[3], pictures.all(), strict=True):
                content = window.request.get(picture.evaluate("image => image.src")).body()
                answer, heat = app.classify(model, path.read_bytes())
                shown = gradcam.overlay(
                    networks.show(path.read_bytes(), model.record, app.SHOWN), heat
                )
                with Image.open(io.BytesIO(content)) as there:
                    np.testing.assert_allclose(np.asarray(there).astype(int), shown, atol=2)

        check(photo)
        broken = {
            "broken.jpg": (photo.read_bytes()[:-600], "truncated"),
            "![x](http://evil.example/x.png).txt": (b"no photo", "the file is not a picture"),
            "bomb.png": (huge_png(30000, 30000), "bomb"),
        }
        for name, (content, message) in broken.items():
            path = tmp_path / name.replace("/", "_")
            path.write_bytes(content)
            told = upload(window, path, len(models[3]))
            assert told.startswith(f"{path.name}: can't be read (") and message in told
        check(drawings / "validation" / "dogs" / "dog.1.jpg")
        path = tmp_path / "moving.gif"
        path.write_bytes(odd_photos(photo)["moving.gif"])
        check(path)

        large = tmp_path / "large.jpg"
        large.write_bytes(bytes(app.MEGABYTES * 2**20 + 1))
        window.locator("input[type=file]").first.set_input_files(large)
        window.get_by_text(f"{app.MEGABYTES}.0MB or smaller").wait_for()
        # The server refuses it as well, whoever leaves out the page's own check.
        *_, put = [r for r in asked if getattr(r, "method", None) == "PUT"]
        token = {"X-Xsrftoken": put.all_headers()["x-xsrftoken"]}
        form = {"name": "large.jpg", "mimeType": "image/jpeg", "buffer": large.read_bytes()}
        answer = window.request.put(put.url, headers=token, multipart={"file": form})
        assert answer.status == 413
        form["buffer"] = photo.read_bytes()
        answer = window.request.put(put.url, headers=token, multipart={"file": form})
        assert answer.status == 204

        # Nothing comes from elsewhere, and nothing goes there.
        here = f"//{app.ADDRESS}:{port}/"
        elsewhere = [
            r.url for r in asked if here not in r.url and r.url[:5] not in ("data:", "blob:")
        ]
        assert len(asked) > 20 and elsewhere == []


def screenshot(path, vgg16_weights):
    """Take the README's picture of the page, with models of drawings and a drawing."""
    with tempfile.TemporaryDirectory() as folder:
        data, weights = Path(folder) / "drawings", Path(folder) / "weights"
        draw.draw_data_set(data, {"train": 60, "validation": 30}, seed=0)
        epochs = {scratch: 50, bottleneck: 15, finetune: 2}
        train(data, weights, epochs, vgg16_weights=vgg16_weights)
        options = "--weights", weights, "--vgg16-weights", vgg16_weights
        with serving(*options, start=[app.__file__]) as port, browsing() as window:
            window.goto(f"http://{app.ADDRESS}:{port}")
            window.set_default_timeout(120_000)
            upload(window, data / "validation" / "cats" / "cat.4.jpg", len(EXPERIMENTS))
            window.wait_for_function(
                "() => [...document.images].every((picture) => picture.naturalWidth > 0)"
            )
            head = window.locator("h1").bounding_box()
            foot = window.locator("[data-testid=stImageCaption]").first.bounding_box()
            clip = {"x": head["x"] - 20, "y": head["y"] - 20, "width": head["width"] + 40}
            clip["height"] = foot["y"] + foot["height"] - head["y"] + 40
            window.screenshot(path=path, clip=clip)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Take the README's picture of the page.")
    parser.add_argument("--screenshot", required=True, metavar="FILE")
    parser.add_argument("--vgg16-weights", default="imagenet", metavar="FILE")
    arguments = parser.parse_args()
    screenshot(arguments.screenshot, arguments.vgg16_weights)
