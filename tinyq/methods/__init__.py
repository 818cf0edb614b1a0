"""Training methods, which bring weights to their levels: one folder and one row of METHODS for each."""
from collections.abc import Callable

from tinyq.methods.backprop import Backprop
from tinyq.methods.base import Column, GradientMethod, Method
from tinyq.methods.bwn.bwn_method import BWN
from tinyq.methods.cbp.cbp_method import CBP
from tinyq.methods.conntra.conntra_method import CoNNTrA
from tinyq.methods.gradient_step import gradient_step
from tinyq.methods.lqnets.lqnets_method import LQNets
from tinyq.methods.rpr.rpr_method import RPR
from tinyq.methods.ste.ste_method import STE
from tinyq.methods.straight_through import LevelQuantizer
from tinyq.methods.twn.twn_method import TWN
from tinyq.tasks.loss import CROSS_ENTROPY, Loss

METHODS: dict[str, Callable[..., Method]] = {
    "backprop": Backprop, "cbp": CBP, "rpr": RPR, "conntra": CoNNTrA, "ste": STE, "bwn": BWN, "twn": TWN,
    "lqnets": LQNets}

__all__ = [
    "BWN", "CBP", "CROSS_ENTROPY", "METHODS", "RPR", "STE", "TWN", "Backprop", "CoNNTrA", "Column", "GradientMethod",
    "LQNets", "LevelQuantizer", "Loss", "Method", "gradient_step"]
