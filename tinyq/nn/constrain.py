"""Which weights a method may confine to levels."""
from tinyq.errors import UsageError, did_you_mean
from tinyq.nn.conv import Conv2d
from tinyq.nn.linear import Linear

_CHOICES = {
    "inner": lambda weights: weights[1:-1],     # both papers' choice: the first and the last layer stay float
    "all": lambda weights: weights,
    "none": lambda weights: [],
}


def constrain(model, which="inner"):
    """Mark the conv and linear weights that a method confines: "inner" (all but the first and last), "all" or "none".

    First and last are by order of assignment. Returns the model.
    """
    if which not in _CHOICES:
        raise UsageError(f"--constrain {which}: no such choice; {did_you_mean(which, _CHOICES)}")
    weights = [module.weight for _, module in model.named_modules() if isinstance(module, Conv2d | Linear)]
    for weight in weights:
        weight.constrained = False
    for weight in _CHOICES[which](weights):
        weight.constrained = True
    return model
