"""Checks of the input shape of image networks."""
from tinyq.errors import UsageError

Shape = tuple[int, ...]                 # of one input: (channels, height, width) or (features,)


def check_images(name: str, input_shape: Shape, min_size: int) -> None:
    """UsageError unless the input is (channels, height, width) with both sides at least `min_size` pixels."""
    if len(input_shape) != 3 or min(input_shape[1:]) < min_size:
        raise UsageError(f"model {name}: takes (channels, height, width) images of {min_size}x{min_size} or more; "
                         f"the data's inputs are {input_shape}")


def check_image_size(name: str, input_shape: Shape, size: int) -> None:
    """UsageError unless the input is (channels, size, size)."""
    if len(input_shape) != 3 or input_shape[1:] != (size, size):
        raise UsageError(f"model {name}: takes (channels, {size}, {size}) images; the data's inputs are {input_shape}")
