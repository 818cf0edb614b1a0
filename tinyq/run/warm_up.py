"""Compile the kernels ahead of time, by small jobs of every method and steps of larger networks."""
import contextlib
import io
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tinyq import models, nn, optim
from tinyq.autodiff import Tensor
from tinyq.inference.fused_network import Fused
from tinyq.run.session import ObserversFor, start
from tinyq.run.settings.resolve import resolve
from tinyq.streams import Streams

METHODS = {"pretrain_epochs": 0}        # two steps must reach the method itself
RECIPES: dict[str, dict] = {"digits-float": {}, "iris-mlp": {}, "digits-cbp": METHODS, "digits-rpr": METHODS,
                            "digits-conntra": METHODS, "iris-conntra": METHODS}
NETWORKS = (("lenet", (1, 28, 28), 64), ("resnet20", (3, 32, 32), 64), ("googlenet", (3, 64, 64), 8))


def warm_up(report: Callable[[str], None], observers_for: ObserversFor) -> None:
    """Take two steps of every recipe in a temporary folder, and one of every network; report(name) before each.

    observers_for: as for session.start.
    """
    with tempfile.TemporaryDirectory() as folder:
        for recipe, changes in RECIPES.items():
            report(recipe)
            output = str(Path(folder) / recipe)
            with contextlib.redirect_stdout(io.StringIO()):
                resolved = resolve({"recipe": recipe, "max_steps": 2, "workers": 0, "output": output, **changes})
                start(resolved, observers_for)
    for name, shape, batch in NETWORKS:
        report(f"{name} at {shape[1]}x{shape[2]}")
        _step(name, shape, batch)


def _step(name: str, shape: tuple[int, ...], batch: int) -> None:
    streams = Streams(0)
    model = models.build(name, 10, shape).initialise(streams)
    model.key_step(streams, 0, 0)
    x = streams.key("warm-up").normal((batch, *shape)).astype(np.float32)
    nn.cross_entropy(model(Tensor(x)), np.zeros(batch, np.int64)).backward()
    for optimizer in (optim.SGD(model.parameters(), lr=0.01, momentum=0.9), optim.Adam(model.parameters())):
        optimizer.step()
    Fused(model)(x)
