"""What the article's constants mean, and how photos are prepared. Needs no TensorFlow.

The article's code ran in Keras 1.0.4 with Pillow 3.2 and SciPy 0.17. Today's packages give the
same constants another meaning in eight places, the CHANGES. A recipe says which of them are
as they were in 2016, and which as they are today.
"""

import math

# The article's validation accuracies, from and to, after its epochs of batches.
ARTICLE = {"scratch": (0.79, 0.81), "bottleneck": (0.90, 0.91), "finetune": (0.94,)}
EPOCHS, BATCH_SIZE = 50, 32

CHANGES = {
    # of the augmentation: the unit in augmentation() below, the rest in transform.py
    "shear": "its unit: radians, and degrees since Keras 2.1.3 (keras PR 8868). On a picture "
    "150 pixels high, 0.2 moved a corner by 14.8 pixels; now it moves it by 0.26",
    "axes": "which axis of a picture comes first: rows, so that the shear moves rows; now columns",
    "centre": "the point that stays: half the size + 0.5; now half the size - 0.5",
    "interpolation": "the affine transform took the nearest pixel; now it interpolates",
    # of the preprocessing, see transform.decode()
    "resizing": "Pillow's nearest neighbour: the pixel at the left of the place; now below it",
    # of the training, see keras2016.py
    "loss": "of clipped probabilities; now of what the sigmoid makes them from",
    "pooling": "where places share a maximum, its gradient went to all of them; now to one",
    "epsilon": "RMSprop divided by sqrt(a) + 1e-8; now by sqrt(a + 1e-7), and at rest 30,000 "
    "times as much is added",
}

# {recipe: the changes that it has as they are today}. "faithful": all as in 2016. "as-printed":
# the constants as they are printed, in today's meaning. "constants": what was called faithful
# here before the others were known; of the epsilon, what a constant can do: sqrt(a + 1e-16).
# The others tell what each change costs: faithful but for that one.
RECIPES = {
    "faithful": set(),
    "as-printed": set(CHANGES),
    "constants": {"axes", "centre", "resizing", "loss", "pooling"},
    **{f"as-printed-{change}": {change} for change in CHANGES},
}

# Changes made alone to `constants`, which there are records of.
EARLIER = {f"constants-as-printed-{change}" for change in ("shear", "interpolation", "epsilon")}

# What the article's networks are fed with. Stored with the weights, so that a photo
# can be prepared in the same way wherever they are used.
PREPROCESSING = {
    "color_mode": "rgb",
    "rescale": 1.0 / 255,  # the article's choice, also for VGG16, which was trained otherwise
    "interpolation": "nearest-2016",  # of the resizing; Keras's default, in the old Pillow's way
    "keep_aspect_ratio": False,
}

# What VGG16 was trained on: BGR in 0..255 less ImageNet's mean colour. The mode is that of
# keras.applications.imagenet_utils.preprocess_input.
IMAGENET = {"rescale": 1.0, "mode": "caffe"}
PREPROCESSINGS = {"rescaled": {}, "imagenet": IMAGENET}

FILL_MODE = "nearest"  # ImageDataGenerator's default, then and now


def preprocessing(recipe, name="rescaled"):
    """How the recipe prepares photos, fed as one of PREPROCESSINGS."""
    today = {"interpolation": "nearest"} if "resizing" in RECIPES[recipe] else {}
    return PREPROCESSING | today | PREPROCESSINGS[name]


def augmentation(recipe, shear_range, **ranges):
    """Arguments of transform.ImageDataGenerator for the article's augmentation constants.

    recipe: one of RECIPES. shear_range: the article's number, in the recipe's unit.
    ranges: those whose meaning has not changed: zoom_range, horizontal_flip, ...
    """
    today = RECIPES[recipe]
    return {
        "shear_range": shear_range if "shear" in today else math.degrees(shear_range),
        "interpolation_order": 1 if "interpolation" in today else 0,
        "fill_mode": FILL_MODE,
        **({} if "axes" in today else {"first_axis": "rows"}),
        **({} if "centre" in today else {"centre": 0.5}),
        **ranges,
    }


def rmsprop(recipe):
    """What the recipe's RMSprop divides by; a is the running mean of squared gradients."""
    if recipe == "constants":
        return {"denominator": "sqrt(a + epsilon)", "epsilon": 1e-16}
    if "epsilon" in RECIPES[recipe]:
        return {"denominator": "sqrt(a + epsilon)", "epsilon": 1e-7}
    return {"denominator": "sqrt(a) + epsilon", "epsilon": 1e-8}


def pooling_gradient(recipe):
    """For the record of a run that trains through max-pooling, like loss_clipped()."""
    return {} if "pooling" in RECIPES[recipe] else {"pooling_gradient": "to all maxima"}


def loss_clipped(recipe):
    """For a record, {"loss": "of clipped probabilities"} if the recipe's is, else {}."""
    return {} if "loss" in RECIPES[recipe] else {"loss": "of clipped probabilities"}
