"""Read data that a function of the user's own returns."""
import inspect
from pathlib import Path

from tinyq.data.bundle import DataBundle
from tinyq.data.own.assemble import Choices, bundle_of
from tinyq.data.own.returned import pairs_of
from tinyq.errors import BadInput, UsageError
from tinyq.own_code import UserFunction


def load_own(path: str | Path | None = None, function: UserFunction | None = None, *, split: int = 0,
             test: int | None = None, validation: int | None = None, targets: str = "auto", layout: str = "auto",
             brightest: int = 0, whole: bool = False, padding: int = 0, flip: bool = False) -> DataBundle:
    """Call a user's function and bundle what it returns; BadInput for what cannot be trained on.

    The function takes no argument, or one, the data path. UsageError, with the line in the user's file, where it fails.

    Args:
        path: given to the function, if it takes an argument.
        function: the user's.
        split: number of the random split that chooses the samples held out.
        test: number of samples held out for the test, where the function returns no test part; by default a fifth of
            samples without parts.
        validation: number of training samples held out for validation, where the function returns no validation part;
            by default a tenth; 0 trains on all.
        targets: "classes", "numbers" to predict, or several "labels" of 0 and 1 each; "auto" chooses by the array.
        layout: axes of a sample: "channels-first", "channels-last", "grey" of two axes, "plain" as they are; "auto"
            chooses by the shape.
        brightest: largest value of a pixel; 0 for 255, or 65535 of 16-bit pixels.
        whole: divide whole numbers by a power of two without normalising, so that a discrete network computes exactly.
        padding: pixels by which a training image is shifted at random, in each direction over a black border.
        flip: mirror half of the training images.
    """
    if function is None:
        raise UsageError("data own: name your function, as in --data path/to/file.py:function")
    takes = [p for p in inspect.signature(function.loaded()).parameters.values() if p.kind != p.KEYWORD_ONLY]
    pairs, names = _pairs(function, function.call(*([path] if takes else [])))
    choices = Choices(split, test, validation, targets, layout, brightest, whole, padding, flip)
    return bundle_of("own", function.what, pairs, choices, names)


def _pairs(function, returned):
    """Return what pairs_of does; errors of the user's own objects name the line."""
    try:
        return pairs_of(returned, function.what)
    except BadInput:
        raise
    except Exception as error:
        with function.errors_with_line():
            raise error
