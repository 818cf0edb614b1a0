"""Match the names of weights in other programs' files with those of a network."""
import re
from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np

from tinyq.errors import BadInput

COUNTER = "num_batches_tracked"         # missing in old files; nothing uses it
MAX_NAMES = 20_000                      # more than any network has
MAX_PREFIXES = 8                        # parts that all names may share, at most
WRAPPERS = ("module", "_orig_mod")      # of DataParallel, AveragedModel and torch.compile, at any place in a name
Renaming = dict[str, str]

# Names in other programs of the networks that tinyq has: (pattern, what it becomes), one after the other.
CONVENTIONS: Mapping[str, tuple[tuple[str, str | Callable[[re.Match], str]], ...]] = {
    "torchvision": (),
    "pytorch-cifar": ((r"^linear\.", "fc."), (r"\.shortcut\.", ".downsample.")),
    "OpenMMLab": ((r"^backbone\.", ""), (r"^head\.fc\.", "fc.")),
    "transformers": (
        (r"^resnet\.", ""), (r"^classifier\.1\.", "fc."),
        (r"^embedder\.embedder\.convolution\.", "conv1."), (r"^embedder\.embedder\.normalization\.", "bn1."),
        (r"^encoder\.stages\.(\d{1,3})\.layers\.", lambda found: f"layer{int(found[1]) + 1}."),
        (r"\.layer\.(\d{1,3})\.convolution\.", lambda found: f".conv{int(found[1]) + 1}."),
        (r"\.layer\.(\d{1,3})\.normalization\.", lambda found: f".bn{int(found[1]) + 1}."),
        (r"\.shortcut\.convolution\.", ".downsample.0."), (r"\.shortcut\.normalization\.", ".downsample.1.")),
}
KERAS = {"kernel": "weight", "bias": "bias", "gamma": "weight", "beta": "bias", "moving_mean": "running_mean",
         "moving_variance": "running_var"}


def renaming(names: Iterable[str], own: Mapping[str, np.ndarray]) -> Renaming:
    """Return {name in the file: name in the network} by the convention that covers most of the network's names.

    Names that belong to nothing keep what remains of them. A file's own names win where they cover as many.
    """
    names = list(names)
    best = {name: name for name in names}
    for candidate in _candidates(names, own) if len(names) <= MAX_NAMES else ():
        if covered(candidate, own) > covered(best, own):
            best = candidate
        if fits(best, own):
            break
    return best


def covered(renamed: Renaming, own: Mapping[str, np.ndarray]) -> int:
    """Return how many of the network's names a file holds."""
    return len(own.keys() & renamed.values())


def fits(renamed: Renaming, own: Mapping[str, np.ndarray]) -> bool:
    """Return whether a file holds every name of the network; counters may be missing."""
    return set(renamed.values()) >= {name for name in own if not name.endswith(COUNTER)}


def is_keras(names: Iterable[str]) -> bool:
    """Return whether names are those of Keras: kernels and gammas."""
    return any(_leaf(name) in ("kernel", "gamma") for name in names)


def from_keras(state: Mapping[str, np.ndarray], own: Mapping[str, np.ndarray], source: str, channels: int
               ) -> dict[str, np.ndarray]:
    """Return arrays in the network's layout: kernels (h, w, in, out) as (out, in, h, w), (in, out) as (out, in).

    channels: of the input. BadInput where a linear layer reads a flattened plane, whose order in Keras is another one.
    """
    for name, array in own.items():
        if array.ndim == 4:
            channels = len(array)
        if array.ndim == 2:
            if channels not in (1, array.shape[1]):
                raise BadInput(f"{source}: {name} reads a flattened plane, which Keras flattens in another order than "
                               "this network; save the weights from PyTorch instead")
            break
    axes = {4: (3, 2, 0, 1), 2: (1, 0)}
    return {name: np.ascontiguousarray(array.transpose(axes[array.ndim])) if array.ndim in axes else array
            for name, array in state.items()}


def _candidates(names: list[str], own: Mapping[str, np.ndarray]) -> Iterator[Renaming]:
    """Yield every renaming that keeps names apart, the plainest first."""
    for stripped in _stripped(names):
        for rules in CONVENTIONS.values():
            renamed = {name: _replaced(rest, rules) for name, rest in stripped.items()}
            if len(set(renamed.values())) == len(renamed):
                yield renamed
        if is_keras(names):
            yield _keras_names(stripped, own)


def _stripped(names: list[str]) -> Iterator[Renaming]:
    """Yield names as they are, without the parts that wrappers add, and without each first part that all share.

    A name of one part (n_averaged) is a counter of the wrapper and need not share it.
    """
    whole = {name: name for name in names}
    yield whole
    rest = {name: ".".join(part for part in name.split(".") if part not in WRAPPERS) or name for name in names}
    if rest != whole:
        yield rest
    for _ in range(MAX_PREFIXES):
        first = {name.partition(".")[0] for name in rest.values() if "." in name}
        if len(first) != 1:
            return
        rest = {name: left.partition(".")[2] or left for name, left in rest.items()}
        yield rest


def _replaced(name: str, rules: Iterable[tuple[str, str | Callable[[re.Match], str]]]) -> str:
    for pattern, becomes in rules:
        name = re.sub(pattern, becomes, name)
    return name


def _keras_names(stripped: Renaming, own: Mapping[str, np.ndarray]) -> Renaming:
    """Return names with a network's layers in place of Keras' ("layer1_0_conv1.layer1_0_conv1.kernel:0")."""
    layers = {name.rpartition(".")[0].replace(".", "_"): name.rpartition(".")[0] for name in own}
    renamed = {}
    for name, rest in stripped.items():
        parts = rest.removesuffix(":0").split(".")[:-1]
        half = len(parts) // 2
        layer = ".".join(parts[half:] if parts[:half] == parts[half:] else parts)
        renamed[name] = f"{layers.get(layer.replace('.', '_'), layer)}.{KERAS.get(_leaf(name), _leaf(name))}"
    return renamed


def _leaf(name):
    return name.removesuffix(":0").rpartition(".")[2]
