"""Fetch and verify MNIST and CIFAR-10; a file gets its final name only after its SHA-256 was checked."""
import hashlib
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tinyq.data.digest import digest_of_file
from tinyq.data.download.remote import CIFAR10, MNIST, RemoteFile
from tinyq.data.download.transfer import Downloader, Unreachable
from tinyq.data.local.archive import read_members
from tinyq.data.local.idx import find_idx
from tinyq.data.sources.cifar10 import ARCHIVE, FOLDER, IMAGES_PER_FILE, RECORD, TEST_FILES, TRAIN_FILES
from tinyq.errors import BadInput, CannotCreate, InputOutputError
from tinyq.files.atomic import make_folder, write_bytes, write_text
from tinyq.files.lock import locked
from tinyq.files.partial import PartialFile
from tinyq.output.terminal import say

SUMS = "SHA256SUMS"             # hashes of the files of a verified archive

Get = Callable[[RemoteFile, Path], object]          # downloads a file into a folder


@dataclass(frozen=True)
class Problem:
    """A missing or wrong file; `str()` describes it in one line."""

    path: Path
    text: str
    missing: bool = False

    def __str__(self):
        """Faults, per file."""
        return self.text


@dataclass(frozen=True)
class Mnist:
    """The four files of MNIST, stored as .gz; unpacked files are accepted too."""

    files: tuple[RemoteFile, ...] = MNIST

    def folder(self, root: Path) -> Path:
        """Return the folder of the files, which may not exist yet."""
        return root if any(self._found(root, file) for file in self.files) else root / "mnist"

    def is_there(self, root: Path) -> bool:
        """Return True if the files exist, right or wrong."""
        return all(self._found(self.folder(root), file) for file in self.files)

    def problems(self, root: Path) -> list[Problem]:
        """List the missing and wrong files."""
        folder = self.folder(root)
        problems = (_problem(file, self._found(folder, file), folder) for file in self.files)
        return [problem for problem in problems if problem]

    def fetch(self, root: Path, get: Get) -> None:
        """Get the missing files with `get(file, folder)`."""
        for file in self.files:
            folder = self.folder(root)
            if _problem(file, self._found(folder, file), folder):
                get(file, folder)

    @staticmethod
    def _found(folder, file):
        return find_idx(folder, file.name.removesuffix(".gz"))


@dataclass(frozen=True)
class Cifar10:
    """The binary version of CIFAR-10, unpacked from its archive, which is then removed."""

    archive: RemoteFile = CIFAR10
    record_bytes: int = IMAGES_PER_FILE * RECORD

    def folder(self, root: Path) -> Path:
        """Return the folder of the unpacked files, which may not exist yet."""
        return root if self._in(root) else root / "cifar10"

    def is_there(self, root: Path) -> bool:
        """Return True if the files exist, right or wrong."""
        return self._in(self.folder(root))

    def problems(self, root: Path) -> list[Problem]:
        """List the missing and wrong files."""
        folder = self.folder(root)
        if not (folder / FOLDER).is_dir():
            path = folder / ARCHIVE
            problem = _problem(self.archive, path if path.is_file() else None, folder)
            return [problem] if problem else []
        sums, names = _read_sums(folder / FOLDER / SUMS), TRAIN_FILES + TEST_FILES
        if not sums.keys() >= set(names):
            path = folder / FOLDER / SUMS
            return [Problem(path, f"{str(path)!r}: missing or incomplete, so the files in its folder cannot be "
                                  "verified; fetch them: python -m tinyq.data fetch cifar10", not path.is_file())]
        paths = {name: folder / FOLDER / name for name in names}
        return [Problem(path, f"{str(path)!r}: missing or damaged", not path.is_file())
                for name, path in paths.items() if not path.is_file() or digest_of_file(path) != sums[name]]

    def fetch(self, root: Path, get: Get) -> None:
        """Get the archive with `get(file, folder)` unless it is there, unpack the batch files, remove the archive."""
        folder = self.folder(root)
        path = folder / ARCHIVE
        if _problem(self.archive, path if path.is_file() else None, folder):
            get(self.archive, folder)
        contents = read_members(path, FOLDER, dict.fromkeys(TRAIN_FILES + TEST_FILES, self.record_bytes))
        make_folder(folder / FOLDER)
        for name, data in contents.items():
            write_bytes(folder / FOLDER / name, data)
        write_text(folder / FOLDER / SUMS, "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n"
                                                   for name, data in sorted(contents.items())))
        path.unlink()

    @staticmethod
    def _in(folder):
        return (folder / FOLDER).is_dir() or (folder / ARCHIVE).is_file()


DATASETS = {"mnist": Mnist(), "cifar10": Cifar10()}


def fetch(dataset: Mnist | Cifar10, root: Path, downloader: Downloader, mirrors: Sequence[str] = (),
          offline: bool = False, say: Callable[[str], object] = say) -> None:
    """Download `dataset` to `root`, unless it is complete there and verified.

    mirrors: tried before the known ones. BadInput if something is missing with `offline`, or if every mirror sends
    wrong bytes; InputOutputError if no mirror could be reached.
    """
    for mirror in mirrors:
        downloader.check_address(mirror)
    problems = dataset.problems(root)
    if problems and offline:
        raise BadInput(f"{'; '.join(map(str, problems))}; offline, so nothing was fetched")
    if problems:
        with _held(dataset.folder(root)):
            dataset.fetch(root, lambda file, folder: _get(file, folder, downloader, mirrors, say))


def _get(file, folder, downloader, mirrors, say):
    """Download one file from the first mirror that sends the right bytes."""
    failures, wrong = [], False
    for mirror in (*mirrors, *file.mirrors):
        url = mirror.rstrip("/") + "/" + file.name
        say(f"fetching {url}")
        try:
            _get_from(url, file, folder, downloader)
        except (Unreachable, BadInput) as error:
            failures.append(f"{url}: {error}")
            wrong = wrong or isinstance(error, BadInput)
            continue
        for part in folder.glob(f"{file.name}.*.part"):         # one per mirror that failed
            part.unlink()
        return
    kind, advice = (BadInput, "the wrong bytes are deleted; try another --mirror") if wrong else (
        InputOutputError, "what has arrived is kept; run again to continue, or give another --mirror")
    raise kind(f"{file.name} could not be fetched ({'; '.join(failures)}); {advice}")


def _get_from(url, file, folder, downloader):
    part = folder / f"{file.name}.{hashlib.sha256(url.encode()).hexdigest()[:8]}.part"     # one per mirror
    with PartialFile(part) as partial:
        try:
            for last_try in (partial.size == 0, True):  # old bytes may be of another version: then restart
                downloader.receive(url, partial, file.most)
                if (problem := _problem(file, part, folder)) is None:
                    return partial.finish(folder / file.name)
                partial.restart()
                if last_try:
                    raise BadInput(str(problem))
        finally:
            if partial.size == 0:
                part.unlink(missing_ok=True)


@contextmanager
def _held(folder):
    try:
        make_folder(folder)
    except CannotCreate as error:
        raise CannotCreate(f"{str(folder)!r}: cannot create this folder; choose another with --data-path") from error
    with locked(folder):
        yield


def _problem(file, path, folder):
    """Return the Problem of one file, or None if it is right."""
    if path is None:
        what = "contents' SHA-256" if file.pinned_inside else "SHA-256"
        path = folder / file.name
        return Problem(path, f"{str(path)!r} is missing ({what} {file.sha256})", missing=True)
    try:
        file.check(path)
    except BadInput as error:
        return Problem(path, str(error))
    return None


def _read_sums(path):
    """Read {name: digest} from a file in sha256sum's format; empty if there is no file."""
    try:
        return {name: digest for digest, name in (line.split("  ", 1) for line in path.read_text().splitlines())}
    except (OSError, ValueError):
        return {}
