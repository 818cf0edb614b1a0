"""Bundle a dataset for a run: its splits, the input shape and classes, and a description of the data read."""
import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tinyq.data.datasets import Dataset, ImageFiles
from tinyq.errors import UsageError
from tinyq.inputs.preparation import Preparation, from_facts, parse
from tinyq.inputs.targets import CLASSES


@dataclass(frozen=True, eq=False)
class DataBundle:
    """The splits of a dataset; a split is None if the dataset lacks it or it was merged into another."""

    name: str
    train: Dataset | None
    validation: Dataset | None
    test: Dataset | None
    input_shape: tuple[int, ...]            # of one sample: (C, H, W) or (features,)
    class_names: tuple[str, ...]            # of the network's outputs: classes, labels or numbers
    read: dict                              # description of the data read: JSON values, no paths

    @property
    def targets(self) -> str:
        """The kind of the targets: CLASSES, NUMBERS or LABELS of tinyq.inputs.targets."""
        return self.read.get("targets", CLASSES)

    @property
    def target_shape(self) -> tuple[int, ...]:
        """Shape of one sample's target: () for a class."""
        return tuple(self.read.get("target_shape", ()))

    @property
    def preparation(self) -> Preparation | None:
        """How the samples become input; None where the data do not say."""
        return from_facts(self.read)

    def prepared(self, preparation: Preparation, input_shape: tuple[int, ...]) -> "DataBundle":
        """Return the same samples, prepared for evaluation as another network's were; input_shape: that network's."""
        train, validation, test = (part and part.prepared(preparation, input_shape)
                                   for part in (self.train, self.validation, self.test))
        photographs = isinstance(self.test or self.validation or self.train, ImageFiles)
        shape = tuple(input_shape) if photographs else self.input_shape
        return dataclasses.replace(self, train=train, validation=validation, test=test, input_shape=shape)

    def normalised(self, mean: Sequence[float] | None, std: Sequence[float] | None) -> "DataBundle":
        """Return the same samples normalised with these numbers, of which None leaves the dataset's own.

        UsageError unless there is one number for all channels or features, or one for each, and no std is 0.
        """
        if mean is None and std is None:
            return self
        here = self.preparation
        assert here is not None                         # every reader says it
        new = dataclasses.replace(here, mean=tuple(here.mean if mean is None else mean),
                                  std=tuple(here.std if std is None else std))
        longest = max(len(new.mean), len(new.std))
        new = dataclasses.replace(new, mean=_as_many(new.mean, longest), std=_as_many(new.std, longest))
        try:
            parse(json.dumps(new.facts()), self.input_shape)
        except ValueError as error:
            name = "mean" if mean is not None else "std"
            raise UsageError(f"{name}: {new.shown()} do not fit inputs of shape {self.input_shape}: {error}") from error
        train, validation, test = (part and part.normalised(new) for part in (self.train, self.validation, self.test))
        return dataclasses.replace(self, train=train, validation=validation, test=test,
                                   read={**self.read, **new.facts()})

    @property
    def num_classes(self) -> int:
        """Number of classes, or of all numbers or labels of a sample: of the network's outputs."""
        return len(self.class_names)

    def arrays(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        """Return (x, y) of all samples of "train", "validation" or "test", as evaluation sees them.

        Shapes as Dataset.batch has them. Raises UsageError for a split that the dataset lacks.
        """
        dataset = {"train": self.train, "validation": self.validation, "test": self.test}.get(split)
        if dataset is None:
            raise UsageError(f"data {self.name} has no split {split!r}; it has {', '.join(self.read['splits'])}")
        return dataset.batch(np.arange(len(dataset)))

    @property
    def skipped(self) -> dict[str, int]:
        """Number of unreadable samples skipped so far, per split."""
        return {split: len(indices) for split, indices in self.skipped_samples().items()}

    def skipped_samples(self) -> dict[str, list[int]]:
        """Ascending indices of the unreadable samples, per split."""
        return {split: sorted(getattr(self, split).skipped) for split in self.read["splits"]}

    def recall_skipped(self, samples: dict[str, list[int]]) -> None:
        """Skip samples that were skipped before the run was resumed; unknown indices are ignored."""
        for split, indices in samples.items():
            if split in self.read["splits"]:
                dataset = getattr(self, split)
                for index in indices:
                    if index < len(dataset):
                        dataset.skipped.setdefault(index, "unreadable when the run began")

    @property
    def manifest(self) -> dict:
        """Description of the data read, with the number of samples skipped so far per split."""
        splits = {split: {**self.read["splits"][split], "skipped": count} for split, count in self.skipped.items()}
        return {**self.read, "splits": splits}


def _as_many(numbers, count):
    return numbers * count if len(numbers) == 1 else numbers


def make_bundle(name: str, splits: Mapping[str, Dataset], input_shape: Iterable[int], class_names: Iterable[str],
                **facts: object) -> DataBundle:
    """Bundle {"train": Dataset, "validation": ..., "test": ...}; the manifest holds a digest of each, and `facts`.

    Of targets that are no classes, `facts` hold "targets" and "target_shape".
    """
    described = {split: {"samples": len(data), "sha256": data.digest()} for split, data in sorted(splits.items())}
    total = hashlib.sha256("".join(f"{split} {about['sha256']}\n" for split, about in described.items()).encode())
    class_names = tuple(class_names)
    read = {"name": name, "sha256": total.hexdigest(), "splits": described,
            "class_names": list(class_names), **facts}
    return DataBundle(name, splits.get("train"), splits.get("validation"), splits.get("test"),
                      tuple(input_shape), class_names, read)
