"""STE in the audit: its scales stay, and each weight computes with its nearest level (methods/README.md, section 4)."""
from collections.abc import Iterator

import numpy as np

from tinyq.audit.methods.latent_rules import LatentMetrics, LatentRules, Quantised, Weight, by_filter, quantised_by
from tinyq.audit.methods.method_audit import MethodAudit, Record


class STERules(LatentRules):
    """Scales are found once."""

    def step(self, record: Record) -> Iterator[str]:
        """Check that the scales are those of the beginning."""
        yield from super().step(record)
        yield from self.unchanged(record, "scales")


def nearest_levels(w: np.ndarray, weight: Weight) -> Quantised:
    """Return the scales as they are, and thresholds midway between levels."""
    scale = by_filter(w, weight.scale)
    return Quantised(scale, scale[..., None] * weight.level_set.midpoints)


AUDIT = MethodAudit(metrics=LatentMetrics, rules=STERules, checks={"effective levels": quantised_by(nearest_levels)})
