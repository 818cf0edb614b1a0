"""Refuse flags that would have no effect: who gives one expects that something changes."""
from collections.abc import Iterable

from tinyq.errors import UsageError
from tinyq.run.settings.config import Config

# {setting: schedules that heed it}
OF_SCHEDULES = {"lr_steps": ("step", "multistep"), "lr_gamma": ("step", "multistep", "plateau"),
                "lr_patience": ("plateau",), "lr_min": ("cosine", "plateau")}
OF_SGD = ("momentum", "nesterov")


def check_effect(c: Config, given: Iterable[str]) -> None:
    """Raise UsageError if one of the settings that were given changes nothing in a run with this configuration."""
    for key in given:
        reason = _idle(c, key)
        if reason:
            raise UsageError(f"--{key.replace('_', '-')}: has no effect {reason}")
    if "lr_steps" in given and "," in c.lr_steps and "multistep" not in _schedules(c):
        raise UsageError(f"--lr-steps {c.lr_steps}: step takes one number, the epochs per step; give one, or "
                         "--schedule multistep")


def _idle(c: Config, key: str) -> str:
    """Return why the setting has no effect, "" if it has one."""
    if key in OF_SGD and "sgd" not in _optimisers(c):
        return f"with --opt {' and '.join(_optimisers(c))}; only sgd has momentum"
    if key in OF_SCHEDULES and not set(OF_SCHEDULES[key]) & _schedules(c):
        return f"with --schedule {' and '.join(sorted(_schedules(c)))}; only {' and '.join(OF_SCHEDULES[key])} heed it"
    if key.startswith("pretrain_") and key != "pretrain_epochs" and not c.pretrain_epochs:
        return "with 0 --pretrain-epochs"
    if key == "audit_every" and c.audit_every and c.audit == "off":
        return "with --audit off"
    return ""


def _optimisers(c: Config) -> list[str]:
    return list(dict.fromkeys([c.opt, *([c.pretrain_opt] if c.pretrain_epochs and c.pretrain_opt else [])]))


def _schedules(c: Config) -> set[str]:
    return {c.schedule, *([c.pretrain_schedule] if c.pretrain_epochs and c.pretrain_schedule else [])}
