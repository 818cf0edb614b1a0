"""Every setting of a run, once: name, type, default, range and help; flags, files and recipes all use this table."""
import dataclasses
import inspect
import math
import types
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tinyq.errors import UsageError, did_you_mean


def setting(default: object, text: str, *, group: str, low: float | None = None, below: float | None = None,
            above: float | None = None, choices: Sequence[str] | None = None, short: str | None = None) -> Any:
    """Declare a setting with its help; low is the least value allowed, above and below are open bounds."""
    return field(default=default, metadata=dict(help=text, group=group, low=low, above=above, below=below,
                                                choices=choices, short=short))


WHAT, FLOAT, TRAINING = "what to train", "float network to start from", "training"
OPTIMISER = "optimiser and learning rate of --method (of the float network: --pretrain-...)"
RUN, RECORD = "run", "ledger (python -m tinyq.audit)"


@dataclass(frozen=True)
class Config:
    """The settings of a run; None means not set (model, data and method always are).

    `options` holds those of the method and of the dataset: {"cbp": {"period": 1}, "mnist": {"padding": 2}}.
    """

    recipe: str = setting("none", "named settings to start from; without this flag, the first recipe that agrees with "
                          "--model, --data and --method", group=WHAT)
    model: str = setting(None, "network; mlp takes its hidden sizes as mlp:100,50; your own is "
                                "path/to/file.py:function", group=WHAT)
    data: str = setting(None, "dataset", group=WHAT)
    data_path: str | None = setting(None, "folder or file of the dataset", group=WHAT)
    mean: str | None = setting(None, "mean of the inputs, one number per channel or feature or one for all, of pixels "
                               "divided by their largest value; by default the dataset's own, or that of the training "
                               "part of your own data", group=WHAT)
    std: str | None = setting(None, "standard deviation of the inputs, likewise", group=WHAT)
    plugin: str | None = setting(None, "Python file of your own that adds methods, models, data, losses or layers; "
                                 "give the flag again for a further file", group=WHAT)
    method: str = setting(None, "method that puts the weights on their levels", group=WHAT)
    levels: str | None = setting("ternary", "level set: binary, ternary, shift1, shift2, or a list such as "
                                 "--levels=-2,-1,0,1,2; or one for each layer, by name or pattern, such as "
                                 "\"conv2=shift1,fc*=-1,0,2,*=ternary\"; for bwn and lqnets binary by "
                                 "default; backprop has none", group=WHAT)
    constrain: str = setting("inner", "weights to constrain: inner, all conv and linear weights except those of the "
                             "first and the last layer; or all", group=WHAT, choices=("inner", "all"))
    keep: str | None = setting(None, "layers to keep float, by name or pattern, such as \"conv1,layer4.*\"", group=WHAT)

    weights: str | None = setting(None, "run folder, model.h5, float.h5 or checkpoint to start from; sets "
                                  "--pretrain-epochs to 0 unless that is given too", group=FLOAT)
    weights_preparation: str = setting("same", "same: an error where --weights was trained on inputs prepared in "
                                       "another way than those of --data; any: train on", group=FLOAT,
                                       choices=("same", "any"))
    pretrain_epochs: int = setting(10, "epochs of float training before the method starts", group=FLOAT, low=0)
    pretrain_opt: str | None = setting(None, "optimiser of the float training; by default --opt", group=FLOAT)
    pretrain_lr: float | None = setting(None, "learning rate of the float training; by default --lr", group=FLOAT,
                                        above=0)
    pretrain_weight_decay: float | None = setting(None, "weight decay of the float training; by default "
                                                  "--weight-decay", group=FLOAT, low=0)
    pretrain_schedule: str | None = setting(None, "learning rate schedule of the float training; by default "
                                            "--schedule", group=FLOAT)
    pretrain_warmup: float | None = setting(None, "warm-up epochs of the float training; by default --warmup",
                                            group=FLOAT, low=0)

    epochs: int = setting(10, "epochs of the method", group=TRAINING, low=0)
    max_steps: int | None = setting(None, "stop after this many steps, float training included", group=TRAINING, low=0)
    early_stopping: int = setting(0, "end the phase of --method after N epochs without a better validation figure; "
                                  "0 never does", group=TRAINING, low=0)
    batch_size: int = setting(128, "samples per batch", group=TRAINING, low=1, short="-b")
    accumulate: int = setting(1, "batches per step, whose gradients are combined; batch norm takes its statistics from "
                              "each batch alone, so a larger --batch-size gives other results", group=TRAINING, low=1)
    watch_test: bool = setting(False, "also measure the test split after each epoch, for its curve; the run itself "
                               "never uses it", group=TRAINING)
    loss: str = setting("cross-entropy", "what training lowers; a loss of your own is path/to/file.py:function",
                        group=TRAINING)
    label_smoothing: float = setting(0.0, "share of each label that is spread over all classes, with cross-entropy",
                                     group=TRAINING, low=0, below=1)
    class_weights: str | None = setting(None, "factors of the classes in cross-entropy, or of the labels in bce, such "
                                        "as 1,2.5,1; or balanced, which weighs all classes alike", group=TRAINING)
    ignore_index: int | None = setting(None, "class whose samples count neither for the loss nor for a figure",
                                       group=TRAINING)

    opt: str = setting("sgd", "optimiser", group=OPTIMISER)
    lr: float = setting(0.01, "learning rate", group=OPTIMISER, above=0)
    momentum: float = setting(0.9, "momentum of sgd", group=OPTIMISER, low=0, below=1)
    nesterov: bool = setting(False, "use Nesterov momentum in sgd", group=OPTIMISER)
    weight_decay: float = setting(1e-4, "weight decay of conv and linear weights; biases and batch norm never decay",
                                  group=OPTIMISER, low=0)
    schedule: str = setting("constant", "learning rate schedule over the epochs of the method", group=OPTIMISER)
    warmup: float = setting(0.0, "epochs of linear warm-up before the schedule starts", group=OPTIMISER, low=0)
    lr_steps: str = setting("30,60,90", "with --schedule step, epochs per step; with multistep, epochs at which the "
                            "rate falls", group=OPTIMISER)
    lr_gamma: float = setting(0.1, "factor by which step, multistep and plateau lower the rate", group=OPTIMISER,
                              above=0, below=1)
    lr_patience: int = setting(10, "with --schedule plateau, epochs without a better validation figure (the one that "
                               "best.h5 has, too) before the rate falls", group=OPTIMISER, low=0)
    lr_min: float = setting(0.0, "lowest rate of cosine and plateau", group=OPTIMISER, low=0)

    seed: int = setting(0, "seed of all random numbers", group=RUN, low=0, below=1 << 63)
    threads: int | None = setting(None, "threads of the kernels; by default one per core that this process may use, a "
                                  "container's CPU quota included; the results do not depend on it", group=RUN, low=1)
    workers: int = setting(2, "threads that prepare batches", group=RUN, low=0, below=257, short="-j")
    print_freq: int = setting(0, "print and record metrics every N steps too; 0 for epochs only", group=RUN, low=0)
    tensorboard: bool = setting(False, "also write what metrics.jsonl records as events for TensorBoard", group=RUN)
    checkpoint_minutes: float = setting(10.0, "save a checkpoint every X minutes within an epoch too; 0 for the ends "
                                        "of epochs only", group=RUN, low=0)
    output: str | None = setting(None, "run folder; by default the next free number in runs/", group=RUN)

    audit: str = setting("digests", "record of each step in ledger.jsonl: digests; sha256, all of them by SHA-256, "
                         "slower; full, every array too; off, none", group=RECORD,
                         choices=("digests", "sha256", "full", "off"))
    audit_every: int = setting(0, "check every N-th step in float64 while training, which takes as long as hundreds of "
                               "steps; 0 for none", group=RECORD, low=0)

    options: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def dataset(self) -> str:
        """Name of the dataset among its readers and its options: "own" for a function of the user's own."""
        from tinyq.data import component_of

        return component_of(self.data)


FIELDS = {f.name: f for f in dataclasses.fields(Config) if f.name != "options"}
MAX_WHOLE = (1 << 31) - 1               # of a whole number without a limit of its own
PATHS = ("data_path", "weights", "output", "plugin")
KINDS = typing.get_type_hints(Config)
_OF_READERS = ("path", "function")      # parameters of datasets' readers that settings of every run give


def kind_of(annotation: object) -> type:
    """int, float, str or bool of an annotation that may allow None."""
    parts = typing.get_args(annotation) if isinstance(annotation, types.UnionType) else (annotation,)
    return next(part for part in parts if part is not type(None))


def components() -> dict[str, Callable]:
    """Everything with options of its own, by name: each method's class and each dataset's reader."""
    from tinyq.data import READERS
    from tinyq.methods import METHODS

    found: dict[str, Callable] = {}
    found.update(METHODS)
    found.update(READERS)
    return found


def options_of(component: str) -> dict[str, inspect.Parameter]:
    """The options of a method or dataset: its parameters with a default that are not settings of every run."""
    return options_of_maker(components()[component])


def options_of_maker(maker: Callable) -> dict[str, inspect.Parameter]:
    """The options of a method's class or a dataset's reader."""
    parameters = inspect.signature(maker).parameters
    return {name: p for name, p in parameters.items()
            if p.default is not p.empty and name not in FIELDS and name not in _OF_READERS}


def divides_its_epochs(method: str) -> bool:
    """Return True for a method that plans all its epochs when it begins: it takes no more of them, and no fewer."""
    return "epochs" in inspect.signature(components()[method]).parameters


def own_levels(method: str) -> str | None:
    """Return the default levels of a method whose default differs from that of every run; None for the others."""
    parameter = inspect.signature(components()[method]).parameters.get("levels")
    name = getattr(parameter and parameter.default, "name", None)
    return None if name == FIELDS["levels"].default else name


def known_keys() -> set[str]:
    """All names a setting can have: those of Config, and component.option."""
    return set(FIELDS) | {f"{component}.{name}" for component in components() for name in options_of(component)}


def converted(key: str, value: object, shown: str) -> Any:
    """Convert `value`, a text or a TOML value, to the type of setting `key` and check its range.

    shown: the setting as its user wrote it, up to the value: "--epochs " or "run.toml: epochs = ".
    """
    if key in FIELDS:
        kind, rule, empty = kind_of(KINDS[key]), FIELDS[key].metadata, key in PATHS
    else:
        component, name = key.split(".")
        parameter = options_of(component)[name]
        kind, rule, empty = kind_of_parameter(parameter), types.MappingProxyType({}), parameter.default in ("", None)
    if value == "":
        if empty:
            return None if key in FIELDS or parameter.default is None else ""
        raise UsageError(f"{shown.rstrip(' =')}: is empty; give a value, or leave it out")
    converted = _as(kind, value, shown)
    if isinstance(converted, float) and not math.isfinite(converted):
        raise UsageError(f"{shown}{value}: must be finite")
    _check_range(converted, rule, shown)
    return converted


def kind_of_parameter(parameter: inspect.Parameter) -> type:
    """The type of an option: of its annotation, or of its default."""
    if parameter.annotation is not inspect.Parameter.empty and not isinstance(parameter.annotation, str):
        return kind_of(parameter.annotation)
    return str if parameter.default is None else type(parameter.default)


def _as(kind: type, value: object, shown: str) -> Any:
    if isinstance(value, list):                              # TOML may give a list as a list
        value = ",".join(map(str, value))
    if isinstance(value, bool) != (kind is bool) or isinstance(value, dict):
        raise UsageError(f"{shown}{value}: must be {_NAMES[kind]}")
    if kind is str and isinstance(value, (int, float)):
        return str(value)
    if kind is int and isinstance(value, float):
        raise UsageError(f"{shown}{value}: must be {_NAMES[kind]}")
    try:
        return kind(value)
    except (TypeError, ValueError):
        raise UsageError(f"{shown}{value}: must be {_NAMES[kind]}") from None


_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}


def _check_range(value: Any, rule: typing.Mapping[str, Any], shown: str) -> None:
    if isinstance(value, int) and rule.get("below") is None and abs(value) > MAX_WHOLE:
        raise UsageError(f"{shown}{str(value)[:40]}: must be at most {MAX_WHOLE}")
    if rule.get("low") is not None and value < rule["low"]:
        raise UsageError(f"{shown}{value}: must be at least {rule['low']}")
    if rule.get("above") is not None and value <= rule["above"]:
        raise UsageError(f"{shown}{value}: must be above {rule['above']}")
    if rule.get("below") is not None and value >= rule["below"]:
        raise UsageError(f"{shown}{value}: must be below {rule['below']}")
    if rule.get("choices") and value not in rule["choices"]:
        raise UsageError(f"{shown}{value}: {did_you_mean(value, rule['choices'])}")
