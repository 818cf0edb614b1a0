"""A model from a user's file, run once on zeros so that its mistakes are reported before training starts."""
from tinyq import nn
from tinyq.autodiff import Tensor
from tinyq.errors import UsageError
from tinyq.models.input_checks import Shape
from tinyq.own_code import UserFunction


def user_model(factory: UserFunction, num_classes: int, input_shape: Shape) -> tuple[nn.Module, list[nn.Parameter]]:
    """Run the file and call its function; returns (model, its conv and linear weights in the order they compute).

    UsageError, with the line in the user's file where there is one, for anything that goes wrong.
    """
    model = factory.call(num_classes, input_shape)
    if not isinstance(model, nn.Module):
        raise UsageError(f"{factory.what}: {factory.function} returned a {type(model).__name__}, not a tinyq.nn.Module")
    with factory.errors_with_line():
        weights, y = nn.computing_weights(model, input_shape)
    if not isinstance(y, Tensor) or y.shape != (1, num_classes):
        what = f"a Tensor of {y.shape}" if isinstance(y, Tensor) else f"a {type(y).__name__}"
        raise UsageError(f"{factory.what}: one sample of {input_shape} gives {what}, not logits of (1, {num_classes})")
    return model, weights
