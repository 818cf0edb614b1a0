"""What the networks for images ask of their input."""
from tinyq.errors import UsageError


def require_images(name, input_shape, least, channels=None):
    """UsageError unless the input is (channels, height, width) of at least `least` pixels a side."""
    fits = len(input_shape) == 3 and min(input_shape[1:]) >= least and channels in (None, input_shape[0])
    if not fits:
        raise UsageError(f"--model {name} takes ({channels or 'channels'}, height, width) images of {least}x{least} or "
                         f"more; the data's inputs are {input_shape}")
