"""What the article's constants mean, and how photos are prepared. Needs no TensorFlow."""

import math

# What the article's networks are fed with. Stored with the weights, so that a photo
# can be prepared in the same way wherever they are used.
PREPROCESSING = {
    "color_mode": "rgb",
    "rescale": 1.0 / 255,  # the article's choice, also for VGG16, which was trained otherwise
    "interpolation": "nearest",  # of the resizing; Keras's default, then and now
    "keep_aspect_ratio": False,
}

# What VGG16 was trained on: BGR in 0..255 less ImageNet's mean colour. The mode is that of
# keras.applications.imagenet_utils.preprocess_input.
IMAGENET_PREPROCESSING = {**PREPROCESSING, "rescale": 1.0, "mode": "caffe"}
PREPROCESSINGS = {"rescaled": PREPROCESSING, "imagenet": IMAGENET_PREPROCESSING}

FILL_MODE = "nearest"  # ImageDataGenerator's default, then and now

# What the article's augmentation constants meant to Keras 1.0.4, and mean today. Of the shear:
# then in radians, in degrees since Keras 2.1.3 (keras PR 8868). On a picture 150 pixels high,
# 0.2 moved a corner by 14.8 pixels; now it moves it by 0.26. Of the interpolation: then the
# affine transform took the nearest pixel, now it interpolates between four.
SHEAR_UNIT = {"faithful": "radians", "as-printed": "degrees"}
INTERPOLATION_ORDER = {"faithful": 0, "as-printed": 1}

# RMSprop divided by sqrt(a) + 1e-8 in 2016 and divides by sqrt(a + epsilon) today,
# where Keras's default epsilon is 1e-7: 30,000 times as much for a parameter at rest.
RMSPROP_EPSILON = {"faithful": 1e-16, "as-printed": 1e-7}

# "faithful": the article's constants mean what they meant in 2016; "as-printed": what they mean
# today. The others tell what each change costs: faithful but for one of them, as it is today.
CHANGES = ("shear", "interpolation", "epsilon")
RECIPES = ("faithful", "as-printed", *(f"as-printed-{change}" for change in CHANGES))


def meaning(recipe, change):
    """Whether the recipe has one of CHANGES "as-printed" or "faithful"."""
    return "as-printed" if recipe in ("as-printed", f"as-printed-{change}") else "faithful"


def augmentation(recipe, shear_range, **ranges):
    """Arguments of ImageDataGenerator for the article's augmentation constants.

    recipe: one of RECIPES. shear_range: the article's number, in the recipe's unit.
    ranges: those whose meaning has not changed: zoom_range, horizontal_flip, ...
    """
    if SHEAR_UNIT[meaning(recipe, "shear")] == "radians":
        shear_range = math.degrees(shear_range)
    return {
        "shear_range": shear_range,
        "interpolation_order": INTERPOLATION_ORDER[meaning(recipe, "interpolation")],
        "fill_mode": FILL_MODE,
        **ranges,
    }


def rmsprop_epsilon(recipe):
    """RMSprop's epsilon in today's Keras, with which it is the recipe's."""
    return RMSPROP_EPSILON[meaning(recipe, "epsilon")]
