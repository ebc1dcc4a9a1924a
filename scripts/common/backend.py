"""Keras on TensorFlow, set up to be fast and imported without TensorFlow's chatter.

Scripts import this before Keras, and nothing that imports TensorFlow before this.
"""

import ctypes
import os
import platform
import sys

os.environ["KERAS_BACKEND"] = "tensorflow"  # ImageDataGenerator and the code here need it
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # errors only

# TensorFlow uses oneDNN's kernels by itself only where the processor has AVX512. Processors
# with AVX2 alone gain most from them: a step of scratch takes 148 ms instead of 309.
if platform.machine() in ("x86_64", "AMD64"):
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

# Parameters of glibc's mallopt(), from its malloc.h. By default glibc returns every large
# block to the system when it is freed, and the next step faults it in again, page by page.
# Kept, an epoch of fine-tuning has a twelfth of the page faults, 3.6 million of them less in
# two epochs, and 40 % of the system time; the peak of memory grows by 4 %.
MALLOPT = {
    -4: 0,  # M_MMAP_MAX: no block gets a mapping of its own, which free() would undo
    -1: 2**31 - 1,  # M_TRIM_THRESHOLD: what is freed at the end of the heap stays
    -2: 2**28,  # M_TOP_PAD: the heap grows by 256 MiB at a time; untouched, they cost nothing
    -8: 1,  # M_ARENA_MAX: one heap for all threads, so that each finds what another has freed
}
if platform.libc_ver()[0] == "glibc":
    for _parameter, _value in MALLOPT.items():
        ctypes.CDLL(None).mallopt(_parameter, _value)

# While it is imported and looks for GPUs, TensorFlow prints a dozen lines whatever the
# log level (tensorflow/tensorflow#100442); a one-line error would drown in them. What was
# found is said by runs.Run instead.
_stderr = os.dup(2)
with open(os.devnull, "w") as _nowhere:
    os.dup2(_nowhere.fileno(), 2)
try:
    import tensorflow as tf
    from keras.src.trainers.data_adapters.py_dataset_adapter import PyDatasetAdapter

    tf.config.list_physical_devices()
except KeyboardInterrupt:  # these seconds come before cli.run()
    sys.exit(130)
finally:
    os.dup2(_stderr, 2)
    os.close(_stderr)


# Keras has tf.data tune how many batches it prepares ahead. When an epoch's iterator goes, the
# next one waits for the tuner's thread until 5 s after its start: of scratch's epochs of 3.5 s
# with bfloat16, every other one took 5.1 s. There is nothing to tune with a single loader.
_dataset = PyDatasetAdapter.get_tf_dataset


def _untuned_dataset(adapter):
    options = tf.data.Options()
    options.autotune.enabled = False
    return _dataset(adapter).with_options(options)


PyDatasetAdapter.get_tf_dataset = _untuned_dataset
