"""LQ-Nets in the audit: scales follow the filters, levels are a basis's (methods/README.md, section 7)."""
from typing import Any

import numpy as np

from tinyq.audit.methods.latent_rules import LatentMetrics, LatentRules, Quantised, by_filter, quantised_by
from tinyq.audit.methods.method_audit import MethodAudit
from tinyq.levels import LevelSet


def learned_levels(w: np.ndarray, quantizer: Any) -> Quantised:
    """Return scales in proportion to the filters' mean magnitudes, and thresholds midway between the levels."""
    size = np.abs(w).reshape(len(w), -1)
    mean = np.where(size.any(1), size.mean(1), 1.0)
    scale = by_filter(w, mean * (np.sum(quantizer.scale, dtype=np.float64) / mean.sum()))
    return Quantised(scale, scale[..., None] * quantizer.level_set.midpoints)


def are_of_a_basis(configured: LevelSet, levels: np.ndarray) -> bool:
    """Return True for as many symmetric levels as configured, the largest of them 1."""
    return len(levels) == len(configured.levels) and levels[-1] == 1 and np.array_equal(levels, -levels[::-1])


AUDIT = MethodAudit(metrics=LatentMetrics, rules=LatentRules, levels=are_of_a_basis,
                    checks={"effective levels": quantised_by(learned_levels)})
