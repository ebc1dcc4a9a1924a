"""Serve a page on this computer: drop photos, see their classes and where the network looked.

Shows the class probabilities of each model in the weights folder, the same as predict.py's,
and a class activation map (Grad-CAM) for the most probable class. Of several photos, or of a
folder, it counts what they are taken for. Only this computer can open
the page, and the page loads nothing from elsewhere. A photo stays in memory and is forgotten
when the page is closed. Ctrl-C stops the server.
"""

import collections
import hashlib
import re
import socket
import sys
from pathlib import PurePosixPath

from common import cli, files, parsers
from common.cli import InputError

ADDRESS, PORT = "127.0.0.1", 8501
MEGABYTES, MEGAPIXELS = 25, 89  # of a photo, at most; Pillow warns of more pixels
SHOWN = 400  # pixels of a photo's longer side on the page
MOST_PROBABLE = 10  # classes on the page
DETAILED = 12  # photos that are shown; the others are only counted

# Streamlit's settings; they override those in its own files and in the environment.
SETTINGS = {
    "server_address": ADDRESS,
    "server_allowedHosts": [ADDRESS, "localhost"],  # no other site may pose as this one
    "server_enableCORS": True,  # its protection, that is
    "server_enableXsrfProtection": True,
    "server_enableStaticServing": False,
    "server_enableAgentApi": False,
    "server_maxUploadSize": MEGABYTES,
    "server_fileWatcherType": "none",
    "server_headless": True,  # opens no browser, asks for no e-mail address
    "browser_gatherUsageStats": False,
    "client_showErrorDetails": "none",  # they are on the terminal
    "client_toolbarMode": "minimal",
    "runner_magicEnabled": False,
}


def parse(argv=None):
    """The command line's options, and the models' paths, see parsers.find_models()."""
    parser = parsers.model(__doc__)
    parser.add_argument(
        "--port",
        type=cli.positive,
        default=PORT,
        metavar="N",
        help=f"the page is http://{ADDRESS}:N (default: %(default)s)",
    )
    arguments = parser.parse_args(argv)
    try:
        import streamlit  # noqa: F401
    except ImportError as error:
        raise InputError("Streamlit is not installed; `make app` installs it") from error
    return arguments, parsers.find_models(arguments)


if __name__ == "__main__":  # mistakes are answered before TensorFlow is imported
    command = cli.run(parse)

from common import backend  # noqa: F401  first, it sets Keras up
import numpy as np

from common import gradcam, images, networks


# What networks.load() and gradcam.split() return for a file.
Model = collections.namedtuple("Model", "network record maps scores")


def load(paths, vgg16_weights, times=None):
    """A Model for each of these files. Raises InputError as networks.load() does.

    times: the files', by which Streamlit's cache notices a file that has been replaced.
    """
    loaded = [networks.load(path, vgg16_weights) for path in paths]
    return [Model(network, record, *gradcam.split(network)) for network, record in loaded]


def problem(content, models):
    """Why these bytes are not a photo for the page, in a few words, or None."""

    def check(_, content):
        width, height = files.open_picture(content).size
        if width * height > MEGAPIXELS * 1e6:
            raise ValueError(f"it has more than {MEGAPIXELS} megapixels")
        networks.decode(content, models[0].record)

    return files.photo_problem(content, check)


def classify(model, content):
    """The class probabilities, float32 (classes,), and the map for the most probable class.

    content: the bytes of a photo without a problem(). For the map, see gradcam.py.
    """
    pixels = networks.decode(content, model.record)[np.newaxis]
    pixels = images.standardize(pixels, model.record["preprocessing"])
    (answer,) = networks.class_probabilities(model.network.predict_on_batch(pixels))
    return answer, gradcam.class_activation_map(model.maps, model.scores, pixels, answer.argmax())


def page(models):
    """What Streamlit runs for each visitor, and again after each upload."""
    import streamlit as st

    st.set_page_config(page_title="Which class is it?", layout="wide")
    st.title("Which class is it?", anchor=False)
    uploads = st.file_uploader("Photos; they stay on this computer", accept_multiple_files=True)
    uploads += [
        upload
        for upload in st.file_uploader("Or a folder of photos", accept_multiple_files="directory")
        if all(map(files.is_the_persons, (parts := PurePosixPath(upload.name).parts)))
        and files.is_photo(parts[-1])
    ]
    # What has been looked at stays, since all of this runs again for each photo that is added.
    known = st.session_state.setdefault("known", {})
    read = []
    for upload in cli.progress(uploads, "Photos"):
        content = upload.getvalue()
        key = hashlib.sha256(content).digest(), *(model.record.get("run") for model in models)
        if key not in known:
            wrong = problem(content, models)
            known[key] = wrong or [classify(model, content) for model in models]
        if isinstance(known[key], str):
            st.error(f"{escaped(upload.name)}: can't be read ({escaped(known[key])})")
        else:
            read.append((upload, known[key]))
    if len(read) > 1:
        for number, model in enumerate(models):
            st.subheader(model.record["experiment"], anchor=False)
            counted = [
                (PurePosixPath(upload.name).parent.name, answers[number][0].argmax())
                for upload, answers in read
            ]
            st.markdown(count_table(counted, networks.class_names(model.record)))
    for upload, answers in read[:DETAILED]:
        st.header(escaped(upload.name), anchor=False, divider=True)
        columns = st.columns(len(parsers.MODELS))
        for column, model, answer in zip(columns, models, answers, strict=False):
            show(column, model, upload.getvalue(), *answer)
    if len(read) > DETAILED:
        st.write(f"The first {DETAILED} of {len(read)} photos are shown.")


def count_table(answers, names):
    """Markdown table: how many photos of each folder (rows) are taken for each class.

    answers: [(folder's name, class number), ...]. names: the classes'.
    """
    rows = [("folder", "photos", "taken for")]
    for folder in sorted({folder for folder, _ in answers}):
        counts = collections.Counter(number for where, number in answers if where == folder)
        taken = ", ".join(f"{names[number]} {count}" for number, count in counts.most_common())
        rows.append((escaped(folder), str(counts.total()), escaped(taken)))
    return cli.markdown(rows)


def show(column, model, content, answer, heat):
    """One model's answer to a photo, and where it saw that, in a column of the page."""
    names = [escaped(name) for name in networks.class_names(model.record)]
    best = np.argsort(-answer, kind="stable")[:MOST_PROBABLE]
    column.subheader(model.record["experiment"], anchor=False)
    for number in best:
        column.progress(float(answer[number]), text=f"{names[number]} {answer[number]:.4f}")
    where = "Where it saw" if heat.any() else "It saw nothing that speaks for"
    picture = gradcam.overlay(networks.show(content, model.record, SHOWN), heat)
    column.image(picture, caption=f"{where} {names[best[0]]}", output_format="PNG")


def escaped(text):
    """Text that Streamlit's Markdown shows unchanged."""
    return re.sub(r"([^\w\s])", r"\\\1", text)


def main(arguments, paths):
    """Run the script with what parse() returned."""
    import streamlit as st
    from streamlit.web import bootstrap

    # Streamlit runs this file again for each visitor, but keeps what is cached here.
    # A retrained model has another time, and is loaded again.
    times = [path.stat().st_mtime_ns for path in paths if path.exists()]
    cached_load = st.cache_resource(load, show_spinner=False, max_entries=1)
    models = cached_load(paths, arguments.vgg16_weights, times)
    if st.runtime.exists():
        page(models)
        return
    with socket.socket() as test:  # Streamlit's own message would say less
        test.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            test.bind((ADDRESS, arguments.port))
        except (OSError, OverflowError) as error:
            raise InputError(f"port {arguments.port}: {error}; name another: --port") from error
    print(f"Models: {', '.join(map(str, paths))}", flush=True)
    settings = {**SETTINGS, "server_port": arguments.port}
    bootstrap.load_config_options(settings)
    bootstrap.run(__file__, False, sys.argv[1:], settings)


if __name__ == "__main__":
    cli.run(main, *command, after_interrupt="the page is gone")
