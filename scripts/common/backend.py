"""Keras on TensorFlow, set up for speed and imported without TensorFlow's messages.

Scripts import this before Keras and anything else that imports TensorFlow.
"""

import ctypes
import os
import platform
import sys

os.environ["KERAS_BACKEND"] = "tensorflow"  # ImageDataGenerator and the code here need it
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # errors only
# By default, a process takes all of a GPU's memory, and the scripts that crossval.py starts from
# its own, or an experiment beside the page, find none.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")

# By default, TensorFlow uses oneDNN only on processors with AVX512. Those with AVX2 alone gain
# most from it: a step of scratch takes 148 ms instead of 309.
if platform.machine() in ("x86_64", "AMD64"):
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

# Parameters of glibc's mallopt(), from its malloc.h. By default, glibc returns every large block
# to the system when it is freed, and the next step faults it in again, page by page. Keeping the
# blocks leaves an epoch of fine-tuning a twelfth of the page faults (3.6 million fewer in two
# epochs) and 40 % of the system time; peak memory grows by 4 %.
MALLOPT = {
    -4: 0,  # M_MMAP_MAX: no separate mapping for large blocks, which free() would unmap
    -1: 2**31 - 1,  # M_TRIM_THRESHOLD: keep free memory at the end of the heap
    -2: 2**28,  # M_TOP_PAD: grow the heap by 256 MiB at a time; untouched, they cost nothing
    -8: 1,  # M_ARENA_MAX: one heap for all threads, so that each can reuse any freed block
}
if platform.libc_ver()[0] == "glibc":
    for _parameter, _value in MALLOPT.items():
        ctypes.CDLL(None).mallopt(_parameter, _value)

# While it is imported and looks for GPUs, TensorFlow prints a dozen lines at any log level
# (tensorflow/tensorflow#100442), in which a one-line error would drown. runs.Run prints the
# devices instead.
_stderr = os.dup(2)
with open(os.devnull, "w") as _nowhere:
    os.dup2(_nowhere.fileno(), 2)
try:
    import keras
    import tensorflow as tf
    from keras.src.trainers.data_adapters.py_dataset_adapter import PyDatasetAdapter

    tf.config.list_physical_devices()
except KeyboardInterrupt:  # these seconds come before cli.run()
    sys.exit(130)
finally:
    os.dup2(_stderr, 2)
    os.close(_stderr)

# NVIDIA GPUs since Ampere would round float32 to TF32's 10 bits before they multiply.
tf.config.experimental.enable_tensor_float_32_execution(False)

# What ~/.keras/keras.json and KERAS_MAX_... say would change the results, and records would not
# know it.
keras.config.set_floatx("float32")
keras.config.set_epsilon(1e-7)
keras.config.set_image_data_format("channels_last")
keras.config.set_max_epochs(None)
keras.config.set_max_steps_per_epoch(None)

# Keras has tf.data tune how many batches to prepare ahead, though there is nothing to tune with
# a single loader. When an epoch's iterator is released, the next one waits for the tuner's thread
# until 5 s after that started: of scratch's epochs of 3.5 s with bfloat16, every other took 5.1 s.
_dataset = PyDatasetAdapter.get_tf_dataset


def _untuned_dataset(adapter):
    options = tf.data.Options()
    options.autotune.enabled = False
    return _dataset(adapter).with_options(options)


PyDatasetAdapter.get_tf_dataset = _untuned_dataset
