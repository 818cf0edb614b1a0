"""Check the labels of a classification batch."""
import numpy as np

from tinyq.errors import BadInput


def checked_labels(labels: np.ndarray, n: int, c: int) -> np.ndarray:
    """Return the labels as int64; BadInput unless they are n class numbers below c."""
    if n == 0:
        raise BadInput("loss: an empty batch has no mean loss; give at least one sample")
    if labels.shape != (n,):
        raise BadInput(f"loss: labels of shape {labels.shape} do not fit {n} samples; give one class number per sample")
    if labels.dtype.kind not in "iu":
        raise BadInput(f"loss: labels are {labels.dtype}; give class numbers of an integer dtype")
    wrong = labels[(labels < 0) | (labels >= c)]
    if wrong.size:
        raise BadInput(f"loss: label {wrong[0]} is not one of the {c} classes 0 to {c - 1}; "
                       "check the labels and the model's number of classes")
    return np.ascontiguousarray(labels, np.int64)
