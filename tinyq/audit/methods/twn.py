"""TWN in the audit: threshold and scale recomputed from methods/README.md, section 6."""
from typing import Any

import numpy as np

from tinyq.audit.methods.latent_rules import LatentMetrics, LatentRules, Quantised, quantised_by
from tinyq.audit.methods.method_audit import MethodAudit

SHARE = 0.7                             # the published constant, written a second time


def three_levels(w: np.ndarray, quantizer: Any) -> Quantised:
    """Return the mean magnitude beyond the threshold as the scale, and the thresholds -d and d."""
    size = np.abs(w)
    threshold = SHARE * size.mean()
    beyond = size[size > threshold]
    return Quantised(beyond.mean() if beyond.size else 1.0, np.array([-threshold, threshold]))


AUDIT = MethodAudit(metrics=LatentMetrics, rules=LatentRules, checks={"effective levels": quantised_by(three_levels)})
