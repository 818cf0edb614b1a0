"""BWN in the audit: sign, scale and gradient recomputed from methods/README.md, section 5."""
from typing import Any

import numpy as np

from tinyq.audit.methods.latent_rules import LatentMetrics, LatentRules, Quantised, by_filter, quantised_by
from tinyq.audit.methods.method_audit import MethodAudit


def signs(w: np.ndarray, quantizer: Any) -> Quantised:
    """Return the mean magnitude of each filter, a threshold of 0, and the slope 1 / n + a [|w| <= 1]."""
    size = np.abs(w).reshape(len(w), -1)
    scale = by_filter(w, np.where(size.any(1), size.mean(1), 1.0))
    return Quantised(scale, np.zeros(1), 1 / size.shape[1] + scale * (np.abs(w) <= 1))


AUDIT = MethodAudit(metrics=LatentMetrics, rules=LatentRules, checks={"effective signs": quantised_by(signs)})
