"""How weights come to their levels: one file a method, one row a method in the table."""
from tinyq.methods.backprop import Backprop
from tinyq.methods.base import GradientMethod, Method, gradient_step
from tinyq.methods.cbp.cbp_method import CBP
from tinyq.methods.conntra.conntra_method import CoNNTrA
from tinyq.methods.rpr.rpr_method import RPR
from tinyq.methods.straight_through import LevelView

METHODS = {"backprop": Backprop, "cbp": CBP, "rpr": RPR, "conntra": CoNNTrA}

__all__ = ["CBP", "METHODS", "RPR", "Backprop", "CoNNTrA", "GradientMethod", "LevelView", "Method", "gradient_step"]
