"""Derive the finished network from the last checkpoint: what the method's `finish` makes of its state."""
from dataclasses import dataclass

import numpy as np

from tinyq import models
from tinyq.audit.methods.method_table import audit_of
from tinyq.own_code import UserFunction
from tinyq.run import result
from tinyq.run.checkpoint import Position
from tinyq.run.checkpoint_network import begun
from tinyq.run.phases import phases_of
from tinyq.run.settings.config import Config
from tinyq.saved.model_file import scales_and_levels, shown_state


@dataclass(frozen=True, eq=False)
class Finished:
    """Finished network, histograms of latent weights, scales, levels; None for what only a replay can make."""

    state: dict[str, np.ndarray]
    histograms: dict | None = None
    scales: dict[str, np.ndarray] | None = None
    levels: dict[str, np.ndarray] | None = None


def finished_of(config: Config, network: str | UserFunction, classes: int, shape: tuple[int, ...], position: Position,
                states: dict[str, dict]) -> Finished:
    """Return the network that the run's last phase leaves, from a checkpoint's position and states.

    network: the model's name, or the user's own file. A method whose `begin` reads the data
    keeps its weights on their levels throughout: they are the finished ones.
    """
    model = models.build(network, classes, shape, config.constrain, config.keep or "")
    if audit_of(type(phases_of(config, model)[position.phase].method).__name__).begin_reads_data:
        return Finished(states["model"])
    method = begun(config, model, position, states, lambda: None)
    histograms = result.histograms(model)
    method.finish()
    return Finished(shown_state(model), histograms, *scales_and_levels(model))
