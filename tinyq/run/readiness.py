"""Find out before training what would otherwise end a run at the end of its first epoch, or leave it unpacked."""
import numpy as np

from tinyq import levels, nn
from tinyq.autodiff import Tensor, no_record
from tinyq.errors import BadInput, UsageError
from tinyq.methods import METHODS
from tinyq.methods.base import check_everything
from tinyq.nn import BatchNorm1d, BatchNorm2d, Module
from tinyq.packed.file.record_graph import record_graph
from tinyq.run.phases import takes_levels
from tinyq.run.settings.config import Config


def check_constraint(config: Config, model: Module) -> None:
    """Raise UsageError unless the method has weights to constrain, and each of their layers has one set of levels."""
    if not model.constrained_parameters():
        if config.keep:
            raise UsageError(f"--keep {config.keep}: leaves {config.model} no weight to constrain; keep fewer layers")
        raise UsageError(f"--method {config.method}: {config.model} has no weight to constrain (the first and the last "
                         "layer stay float); add --constrain all to constrain those too")
    everything = getattr(METHODS[config.method], "constrains_everything", False)
    if everything:
        check_everything(model, config.method)
    if takes_levels(config.method):
        nn.check_levels(model, levels.parse(config.levels or ""), config.keep or "", everything)


def check_smallest_batch(model: Module, input_shape: tuple[int, ...], smallest: int, batch_size: int) -> None:
    """Raise an error where the smallest batch of an epoch leaves a batch norm one value per channel.

    UsageError for batches of one sample, BadInput for a training part of one. Larger batches always have two values.
    """
    if smallest != 1:
        return
    name = _batch_norm_of_one_value(model, input_shape)
    if name and batch_size == 1:
        raise UsageError(f"batch_size 1: the batch norm {name} has one value per channel and sample, and cannot train "
                         "on one value; take at least 2")
    if name:
        raise BadInput(f"the training part has one sample, and the batch norm {name} cannot train on one value per "
                       "channel; add samples")


def obstacle_to_packing(model: Module, input_shape: tuple[int, ...]) -> str:
    """Return why a packed file cannot hold the network, "" if it can."""
    try:
        record_graph(model, input_shape)
    except UsageError as error:
        return str(error)
    return ""


def _batch_norm_of_one_value(model: Module, input_shape: tuple[int, ...]) -> str:
    """Return the name of the first batch norm that has one value per channel and sample, "" if there is none."""
    names = {module: name for name, module in model.named_modules() if isinstance(module, BatchNorm1d | BatchNorm2d)}
    met: list[str] = []

    def note(module, call, x, *others, **options):
        if x.size == module.num_features:
            met.append(names[module])
        return call(x, *others, **options)

    with nn.hooked(names, note), nn.evaluating(model), no_record(), np.errstate(all="ignore"):
        model(Tensor(np.zeros((1, *input_shape), np.float32)))
    return met[0] if met else ""
