"""Training methods, which bring weights to their levels: one folder and one row of METHODS for each."""
from collections.abc import Callable

from tinyq.methods.backprop import Backprop
from tinyq.methods.base import Column, GradientMethod, Method
from tinyq.methods.cbp.cbp_method import CBP
from tinyq.methods.conntra.conntra_method import CoNNTrA
from tinyq.methods.gradient_step import gradient_step
from tinyq.methods.rpr.rpr_method import RPR
from tinyq.methods.straight_through import LevelQuantizer
from tinyq.tasks.loss import CROSS_ENTROPY, Loss

METHODS: dict[str, Callable[..., Method]] = {"backprop": Backprop, "cbp": CBP, "rpr": RPR, "conntra": CoNNTrA}

__all__ = ["CBP", "CROSS_ENTROPY", "METHODS", "RPR", "Backprop", "CoNNTrA", "Column", "GradientMethod",
           "LevelQuantizer", "Loss", "Method", "gradient_step"]
