"""Keras on TensorFlow, imported without TensorFlow's chatter. Scripts import this first."""

import os
import sys

os.environ["KERAS_BACKEND"] = "tensorflow"  # ImageDataGenerator and the code here need it
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # errors only

# While it is imported and looks for GPUs, TensorFlow prints a dozen lines whatever the
# log level (tensorflow/tensorflow#100442); a one-line error would drown in them. What was
# found is said by runs.Run instead.
_stderr = os.dup(2)
with open(os.devnull, "w") as _nowhere:
    os.dup2(_nowhere.fileno(), 2)
try:
    import tensorflow as tf

    tf.config.list_physical_devices()
except KeyboardInterrupt:  # these seconds come before cli.run()
    sys.exit(130)
finally:
    os.dup2(_stderr, 2)
    os.close(_stderr)
