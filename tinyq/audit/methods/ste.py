"""STE in the audit: its scales stay, and each weight computes with its nearest level (methods/README.md, section 4)."""
from collections.abc import Iterator
from typing import Any

import numpy as np

from tinyq.audit.methods.latent_rules import LatentMetrics, LatentRules, Quantised, by_filter, quantised_by
from tinyq.audit.methods.method_audit import MethodAudit, Record


class STERules(LatentRules):
    """Scales are found once."""

    def step(self, record: Record) -> Iterator[str]:
        """Check that the scales are those of the beginning."""
        yield from super().step(record)
        yield from self.unchanged(record, "scales")


def nearest_levels(w: np.ndarray, quantizer: Any) -> Quantised:
    """Return the scales as they are, and thresholds midway between levels."""
    scale = by_filter(w, quantizer.scale)
    return Quantised(scale, scale[..., None] * quantizer.level_set.midpoints)


AUDIT = MethodAudit(metrics=LatentMetrics, rules=STERules, checks={"effective levels": quantised_by(nearest_levels)})
