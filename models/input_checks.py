"""What the networks for images ask of their input."""
from tinyq.errors import UsageError


def require_images(name, input_shape, least):
    """UsageError unless the input is (channels, height, width) of at least `least` pixels a side."""
    if len(input_shape) != 3 or min(input_shape[1:]) < least:
        raise UsageError(f"--model {name} takes (channels, height, width) images of {least}x{least} or more; "
                         f"the data's inputs are {input_shape}")
