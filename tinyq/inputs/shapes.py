"""Number of classes and shape of one sample of each dataset, known before it is read."""
SHAPES: dict[str, tuple[int, tuple[int, ...]]] = {
    "iris": (3, (4,)), "digits": (10, (1, 8, 8)), "mnist": (10, (1, 28, 28)), "cifar10": (10, (3, 32, 32)),
    "imagefolder": (1000, (3, 224, 224)), "imagenet": (1000, (3, 224, 224))}
FIXED_CLASSES = ("iris", "digits", "mnist", "cifar10", "imagenet")      # image folders have any number
PHOTOGRAPHS = ("imagefolder", "imagenet")                               # any size, resized to the network's
