"""The experiments on 48×48 photos with a sixteenth of VGG16's filters.

That is enough to test what scripts do with photos, files and settings, in a tenth of the time
and memory. Also for the processes that tests start.
"""

import keras
from keras import layers

SIZE = (48, 48)  # VGG16 needs 32
VGG16 = keras.applications.VGG16  # the whole one


def small_vgg16(include_top, weights, input_shape):
    """keras.applications.VGG16 without its top, with the same layers and fewer filters."""
    assert not include_top
    x = inputs = keras.Input(input_shape)
    for block, convolutions in enumerate((2, 2, 3, 3, 3), 1):
        for number in range(1, convolutions + 1):
            filters = min(2**block, 16) * 2
            name = f"block{block}_conv{number}"
            x = layers.Conv2D(filters, 3, activation="relu", padding="same", name=name)(x)
        x = layers.MaxPooling2D(2, strides=2, name=f"block{block}_pool")(x)
    model = keras.Model(inputs, x, name="vgg16")
    if weights:
        model.load_weights(weights)
    return model


def shrink(*scripts):
    """Make VGG16 and these scripts' photos small for the rest of the process."""
    keras.applications.VGG16 = small_vgg16
    for script in scripts:
        script.IMAGE_SIZE = SIZE


def start(script, argv=None):
    """Call a script's main() with what its parse() returned."""
    parsed = script.parse(None if argv is None else [str(option) for option in argv])
    return script.main(*(parsed if isinstance(parsed, tuple) else [parsed]))
