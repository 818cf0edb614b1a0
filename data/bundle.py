"""A dataset as a run receives it: three splits, what the model must know, and a record of what exactly was read."""
import hashlib
from dataclasses import dataclass

from tinyq.data.datasets import Dataset


@dataclass(frozen=True, eq=False)
class DataBundle:
    """The splits of a dataset; one that it lacks, or that was folded into another, is None."""

    name: str
    train: Dataset | None
    validation: Dataset | None
    test: Dataset | None
    input_shape: tuple[int, ...]            # of one sample: (C, H, W) or (features,)
    class_names: tuple[str, ...]
    manifest: dict                          # JSON values only, no path of this machine

    @property
    def num_classes(self) -> int:
        """How many classes the labels may name."""
        return len(self.class_names)


def make_bundle(name: str, splits: dict[str, Dataset], input_shape, class_names, **facts) -> DataBundle:
    """The bundle of {"train": Dataset, "validation": ..., "test": ...}; the manifest digests each and holds `facts`."""
    described = {split: {"samples": len(data), "sha256": data.digest()} for split, data in sorted(splits.items())}
    total = hashlib.sha256("".join(f"{split} {about['sha256']}\n" for split, about in described.items()).encode())
    class_names = tuple(class_names)
    manifest = {"name": name, "sha256": total.hexdigest(), "splits": described,
                "class_names": list(class_names), **facts}
    return DataBundle(name, splits.get("train"), splits.get("validation"), splits.get("test"),
                      tuple(input_shape), class_names, manifest)
