"""Give the samples of a dataset by index, as float32 inputs with their labels."""
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeAlias

import numpy as np

from tinyq.data.digest import digest_of_arrays, digest_of_listing
from tinyq.data.draws import Draws
from tinyq.data.images.decode import ImageFile
from tinyq.data.transforms import random_crop_flip
from tinyq.data.views import CentreView
from tinyq.errors import BadInput
from tinyq.inputs.preparation import DEEP, WHITE, Preparation, grey, normalise

Indices: TypeAlias = np.ndarray | Sequence[int]


class Dataset(Protocol):
    """One split of a dataset."""

    @property
    def labels(self) -> np.ndarray:
        """Classes, (samples,) int64; or float32 (samples, ...): numbers to predict, or 0 and 1 of several labels."""
        ...

    @property
    def skipped(self) -> dict[int, str]:
        """Reason for each unreadable sample that was skipped, by index."""
        ...

    def __len__(self) -> int:
        """Number of samples."""
        ...

    def batch(self, indices: Indices, draws: Draws | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return (x, y) for these indices: float32 (n, C, H, W) or (n, features, ...), and y as in `labels`.

        With `draws`, each sample is augmented with the random numbers of its index; without, none is augmented.
        """
        ...

    def digest(self) -> str:
        """SHA-256 of the samples and labels."""
        ...

    def prepared(self, preparation: Preparation, input_shape: tuple[int, ...]) -> "Dataset":
        """Return the same samples with another preparation, for evaluation."""
        ...

    def normalised(self, preparation: Preparation) -> "Dataset":
        """Return the same samples with mean and std of a preparation, whose other fields are this one's own."""
        ...


@dataclass(frozen=True, eq=False)
class Table:
    """Rows of features, already normalised."""

    features: np.ndarray        # (samples, features) float32
    labels: np.ndarray
    skipped: dict[int, str] = field(default_factory=dict)
    values: np.ndarray | None = None        # the features before they were normalised, if they are known

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.labels)

    def batch(self, indices: Indices, draws: Draws | None = None) -> tuple[np.ndarray, np.ndarray]:
        """See Dataset.batch; rows of features are never augmented."""
        return self.features[indices], self.labels[indices]

    def digest(self) -> str:
        """See Dataset.digest."""
        return digest_of_arrays(samples=self.features, labels=self.labels)

    def prepared(self, preparation: Preparation, input_shape: tuple[int, ...]) -> "Table":
        """See Dataset.prepared."""
        return self if self.values is None else replace(self, features=preparation.of_features(self.values))

    def normalised(self, preparation: Preparation) -> "Table":
        """See Dataset.normalised."""
        return self.prepared(preparation, self.features.shape[1:])


@dataclass(frozen=True, eq=False)
class Numbers:
    """Measurements of any shape, kept as they came and prepared batch by batch."""

    values: np.ndarray          # (samples, features, ...)
    labels: np.ndarray
    preparation: Preparation
    skipped: dict[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.labels)

    def batch(self, indices: Indices, draws: Draws | None = None) -> tuple[np.ndarray, np.ndarray]:
        """See Dataset.batch; measurements are never augmented."""
        return self.preparation.of_features(self.values[indices]), self.labels[indices]

    def digest(self) -> str:
        """See Dataset.digest."""
        return digest_of_arrays(samples=self.values, labels=self.labels)

    def prepared(self, preparation: Preparation, input_shape: tuple[int, ...]) -> "Numbers":
        """See Dataset.prepared."""
        return replace(self, preparation=preparation)

    def normalised(self, preparation: Preparation) -> "Numbers":
        """See Dataset.normalised."""
        return replace(self, preparation=preparation)


@dataclass(frozen=True, eq=False)
class ImageArray:
    """Small images, kept in memory as 8-bit or 16-bit pixels and converted to float32 batch by batch.

    Augmentation shifts each image by up to `padding` pixels and, with `flip`, mirrors half of the images.
    """

    images: np.ndarray          # (samples, C, H, W) uint8 or uint16
    labels: np.ndarray
    mean: tuple[float, ...]     # one number per channel, or one for all, of pixels divided by `top`
    std: tuple[float, ...]
    top: int = 255
    padding: int = 0
    flip: bool = False
    skipped: dict[int, str] = field(default_factory=dict)
    brightest: int = 255        # largest value of a pixel

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.labels)

    def batch(self, indices: Indices, draws: Draws | None = None) -> tuple[np.ndarray, np.ndarray]:
        """See Dataset.batch."""
        images = self.images[indices]
        if draws is not None and (self.padding or self.flip):
            images = random_crop_flip(images, draws.words(indices, len(self), 3), self.padding, self.flip)
        return normalise(images, self.mean, self.std, self.top), self.labels[indices]

    def digest(self) -> str:
        """See Dataset.digest."""
        return digest_of_arrays(samples=self.images, labels=self.labels)

    def prepared(self, preparation: Preparation, input_shape: tuple[int, ...]) -> "ImageArray":
        """See Dataset.prepared."""
        return replace(self, images=preparation.levels(self.images, self.brightest), brightest=preparation.brightest,
                       mean=preparation.mean, std=preparation.std, top=preparation.divisor)

    def normalised(self, preparation: Preparation) -> "ImageArray":
        """See Dataset.normalised."""
        return replace(self, mean=preparation.mean, std=preparation.std)


@dataclass(frozen=True, eq=False)
class ImageFiles:
    """Images that stay on disk and are decoded on demand.

    An unreadable image raises BadInput. With `skip_bad`, it is left out of its batch instead; BadInput is raised when
    more than one image, and more than one in a thousand, are unreadable.
    """

    tree: Any                   # FolderTree or ZipTree: read(name) -> bytes
    names: list[str]
    labels: np.ndarray
    preparation: Preparation
    view: Any                   # for evaluation: ImageFile -> (size, size, 3) uint8
    random_view: Any            # for training: takes the sample's stream too
    skip_bad: bool = False
    skipped: dict[int, str] = field(default_factory=dict)
    channels: int = 3           # 1: grey

    def __len__(self) -> int:
        """Number of samples, unreadable ones included."""
        return len(self.labels)

    def batch(self, indices: Indices, draws: Draws | None = None) -> tuple[np.ndarray, np.ndarray]:
        """See Dataset.batch; skipped images are missing, so n may be smaller than len(indices)."""
        views = {int(i): self._view_of(int(i), draws) for i in indices}
        kept = np.array([i for i in views if views[i] is not None], np.int64)
        shape, deep = (len(kept), self.view.size, self.view.size, self.channels), self._deep
        images = np.array([views[i] for i in kept.tolist()], np.uint16 if deep else np.uint8).reshape(shape)
        return (self.preparation.of_pixels(images.transpose(0, 3, 1, 2), DEEP if deep else WHITE), self.labels[kept])

    def digest(self) -> str:
        """SHA-256 of names, sizes and labels, because reading every image would take too long."""
        return digest_of_listing(self.names, map(self._size, self.names), self.labels.tolist())

    def prepared(self, preparation: Preparation, input_shape: tuple[int, ...]) -> "ImageFiles":
        """See Dataset.prepared."""
        size = input_shape[1]
        return replace(self, preparation=preparation, view=CentreView(size, preparation.resized(size)),
                       channels=input_shape[0])

    def normalised(self, preparation: Preparation) -> "ImageFiles":
        """See Dataset.normalised."""
        return replace(self, preparation=preparation)

    @property
    def _deep(self) -> bool:
        return self.channels == 1 and self.preparation.is_deep

    def _size(self, name):
        try:
            return self.tree.size(name)
        except BadInput:
            if not self.skip_bad:
                raise
            return -1

    def _view_of(self, index, draws):
        name = self.names[index]
        try:
            image = ImageFile(self.tree.read(name), name, self.preparation.exif, self._deep)
            view = self.view(image) if draws is None else self.random_view(image, draws.stream(index))
            return grey(view) if self.channels < view.shape[-1] else view
        except BadInput as error:
            self._skip(index, error)
            return None

    def _skip(self, index, error):
        if not self.skip_bad:
            raise error
        self.skipped[index] = str(error)
        if len(self.skipped) > max(1, len(self) // 1000):
            raise BadInput(f"{len(self.skipped)} of {len(self)} images are unreadable, more than one in a thousand; "
                           f"the last one: {error}") from error
