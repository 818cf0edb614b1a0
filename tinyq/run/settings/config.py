"""Every setting of a run, once: name, type, default, range and help; flags, files and recipes are all read by it."""
import dataclasses
import inspect
import math
import types
import typing
from dataclasses import dataclass, field

from tinyq.errors import UsageError, did_you_mean


def option(default, text, *, group, low=None, below=None, above=None, choices=None, short=None):
    """A setting with what its flag says; low is the least value allowed, above and below are open bounds."""
    return field(default=default, metadata=dict(help=text, group=group, low=low, above=above, below=below,
                                                choices=choices, short=short))


WHAT, FLOAT, TRAINING = "what to train", "the float network it starts from", "training"
RECORD = "the ledger (python -m tinyq.audit)"
OPTIMISER, MACHINE = "optimiser (of --method; see also the --pretrain- flags)", "this machine"


@dataclass(frozen=True)
class Config:
    """The settings of a run; None means not set.

    `own` holds those that belong to the method and to the dataset: {"cbp": {"period": 1}, "mnist": {"padding": 2}}.
    """

    recipe: str = option("none", "named settings to start from; by default the first recipe that agrees with "
                         "--model, --data and --method, or none", group=WHAT)
    model: str | None = option(None, "a network (mlp takes its hidden sizes: mlp:100,50), or your own as "
                               "path/to/file.py:function", group=WHAT)
    data: str | None = option(None, "a dataset", group=WHAT)
    data_path: str | None = option(None, "folder (or file) that holds the dataset", group=WHAT)
    method: str | None = option(None, "how weights come to their levels", group=WHAT)
    levels: str | None = option("ternary", "binary, ternary, shift1, shift2 or a list: --levels=-2,-1,0,1,2; "
                                "backprop has none", group=WHAT)
    constrain: str = option("inner", "inner: all conv and linear weights but those of the first and last layer; "
                            "all: those too", group=WHAT, choices=("inner", "all"))

    weights: str | None = option(None, "start from this run, model.h5 or float.h5 (then --pretrain-epochs is 0 "
                                 "unless you give it)", group=FLOAT)
    pretrain_epochs: int = option(10, "epochs of plain backprop before the method starts", group=FLOAT, low=0)
    pretrain_opt: str | None = option(None, "--opt of that phase (default: the same)", group=FLOAT)
    pretrain_lr: float | None = option(None, "--lr of that phase (default: the same)", group=FLOAT, above=0)
    pretrain_weight_decay: float | None = option(None, "--weight-decay of that phase (default: the same)",
                                                 group=FLOAT, low=0)
    pretrain_schedule: str | None = option(None, "--schedule of that phase (default: the same)", group=FLOAT)
    pretrain_warmup: float | None = option(None, "--warmup of that phase (default: the same)", group=FLOAT, low=0)

    epochs: int = option(10, "epochs of the method", group=TRAINING, low=0)
    max_steps: int | None = option(None, "stop after this many steps, both phases together", group=TRAINING, low=0)
    batch_size: int = option(128, "samples in a batch", group=TRAINING, low=1, short="-b")
    accumulate: int = option(1, "batches whose gradients make one step; batch norm takes its statistics from each "
                             "batch by itself, so this is not the same as a larger --batch-size", group=TRAINING, low=1)
    watch_test: bool = option(False, "measure the test part after every epoch too, for its curve; nothing in the run "
                              "looks at it", group=TRAINING)
    label_smoothing: float = option(0.0, "share of each label spread over all classes", group=TRAINING, low=0, below=1)

    opt: str = option("sgd", "the optimiser", group=OPTIMISER)
    lr: float = option(0.01, "learning rate", group=OPTIMISER, above=0)
    momentum: float = option(0.9, "of sgd", group=OPTIMISER, low=0, below=1)
    nesterov: bool = option(False, "Nesterov's momentum", group=OPTIMISER)
    weight_decay: float = option(1e-4, "of conv and linear weights; biases and batch norm never decay",
                                 group=OPTIMISER, low=0)
    schedule: str = option("constant", "course of the learning rate over the epochs of a phase", group=OPTIMISER)
    warmup: float = option(0.0, "epochs of linear warm-up before the schedule", group=OPTIMISER, low=0)
    lr_steps: str = option("30,60,90", "step: its length in epochs; multistep: the milestones", group=OPTIMISER)
    lr_gamma: float = option(0.1, "factor of step, multistep and plateau", group=OPTIMISER, above=0, below=1)
    lr_patience: int = option(10, "plateau: epochs without a better validation accuracy", group=OPTIMISER, low=0)
    lr_min: float = option(0.0, "where cosine and plateau end", group=OPTIMISER, low=0)

    seed: int = option(0, "of all randomness", group=MACHINE, low=0, below=1 << 63)
    threads: int | None = option(None, "threads of the kernels (default: all cores); the bits do not depend on it",
                                 group=MACHINE, low=1)
    workers: int = option(2, "threads that prepare batches", group=MACHINE, low=0, short="-j")
    print_freq: int = option(0, "also record and print every so many steps; 0: epochs only", group=MACHINE, low=0)
    audit: str = option("seal", "what is kept of every step: seal, a line of digests in ledger.jsonl; strong, the same "
                        "with SHA-256; full, its arrays too (many); off", group=RECORD,
                        choices=("seal", "strong", "full", "off"))
    audit_every: int = option(0, "check every so many steps in float64 while training, as python -m tinyq.audit check "
                              "does, which takes as long as hundreds of steps; 0: none", group=RECORD, low=0)
    checkpoint_minutes: float = option(10.0, "also save a checkpoint within an epoch, every so many minutes; 0: at the "
                                       "ends of epochs only", group=MACHINE, low=0)
    output: str | None = option(None, "run folder (default: runs/ and the next free number)", group=MACHINE)

    own: dict = field(default_factory=dict)


FIELDS = {f.name: f for f in dataclasses.fields(Config) if f.name != "own"}
PATHS = ("data_path", "weights", "output")
KINDS = typing.get_type_hints(Config)


def kind_of(annotation) -> type:
    """int, float, str or bool of an annotation that may allow None."""
    parts = typing.get_args(annotation) if isinstance(annotation, types.UnionType) else (annotation,)
    return next(part for part in parts if part is not type(None))


def owners() -> dict:
    """What has settings of its own: each method's constructor and each dataset's reader, by name."""
    from tinyq.data import READERS
    from tinyq.methods import METHODS

    return {**METHODS, **READERS}


def own_parameters(owner: str) -> dict[str, inspect.Parameter]:
    """The settings of one method or dataset: its parameters with a default that are not settings of every run."""
    parameters = inspect.signature(owners()[owner]).parameters
    return {name: p for name, p in parameters.items()
            if p.default is not p.empty and name not in FIELDS and name != "path"}


def known_keys() -> set[str]:
    """All names a setting can have: those of Config, and owner.parameter."""
    return set(FIELDS) | {f"{owner}.{name}" for owner in owners() for name in own_parameters(owner)}


def converted(key: str, value, shown: str):
    """`value`, a text or what TOML made of it, as the type and in the range of setting `key`.

    shown is how its user wrote the setting, up to the value: "--epochs " or "run.toml: epochs = ".
    """
    if key in FIELDS:
        kind, rule = kind_of(KINDS[key]), FIELDS[key].metadata
    else:
        owner, name = key.split(".")
        kind, rule = kind_of_parameter(own_parameters(owner)[name]), {}
    value = _as(kind, value, shown)
    _check_range(value, rule, shown)
    return value


def kind_of_parameter(parameter) -> type:
    """The type of a method's or dataset's setting, by its annotation or else its default."""
    if parameter.annotation is not inspect.Parameter.empty and not isinstance(parameter.annotation, str):
        return kind_of(parameter.annotation)
    return str if parameter.default is None else type(parameter.default)


def _as(kind, value, shown):
    if isinstance(value, list):                              # in TOML a list may be written as one
        value = ",".join(map(str, value))
    if isinstance(value, bool) != (kind is bool):
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


def _check_range(value, rule, shown):
    if isinstance(value, float) and not math.isfinite(value):
        raise UsageError(f"{shown}{value}: must be finite")
    if rule.get("low") is not None and value < rule["low"]:
        raise UsageError(f"{shown}{value}: must be at least {rule['low']}")
    if rule.get("above") is not None and value <= rule["above"]:
        raise UsageError(f"{shown}{value}: must be above {rule['above']}")
    if rule.get("below") is not None and value >= rule["below"]:
        raise UsageError(f"{shown}{value}: must be below {rule['below']}")
    if rule.get("choices") and value not in rule["choices"]:
        raise UsageError(f"{shown}{value}: {did_you_mean(value, rule['choices'])}")
