"""Fetching and verifying datasets: what appears in the folder is right, or it does not appear."""
import gzip
import hashlib
import io
import socket
import tarfile

import numpy as np
import pytest
from local_server import serving

from tinyq import data
from tinyq.data.__main__ import main
from tinyq.data.download import remote
from tinyq.data.download.fetch import DATASETS, SUMS, Cifar10, Mnist, fetch
from tinyq.data.download.remote import RemoteFile
from tinyq.data.download.transfer import Downloader
from tinyq.data.sources import cifar10
from tinyq.errors import BadInput, Busy, CannotCreate, InputOutputError, UsageError
from tinyq.files.lock import locked

CONTENTS = {name: bytes([k]) * (1000 * k) for k, name in enumerate(
    (name.removesuffix(".gz") for name in (file.name for file in remote.MNIST)), start=1)}
RECORDS = {name: b"\x03" + hashlib.shake_256(name.encode()).digest(3072)
           for name in cifar10.TRAIN_FILES + cifar10.TEST_FILES}     # one image a file, of class 3


def quick():
    return Downloader(schemes=("http",), pause=0, stall=5)


def archive_bytes():
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, content in RECORDS.items():
            info = tarfile.TarInfo(f"{cifar10.FOLDER}/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


@pytest.fixture
def served():
    with serving() as served:
        yield served


@pytest.fixture
def mnist(served):
    """A small dataset of MNIST's file names; the server has it."""
    served.files = {f"{name}.gz": gzip.compress(content, mtime=7) for name, content in CONTENTS.items()}
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in CONTENTS.items()}
    return Mnist(tuple(RemoteFile(f"{name}.gz", len(content), digests[name], (served.address,), pinned_inside=True)
                       for name, content in CONTENTS.items()))


@pytest.fixture
def cifar(served):
    """Likewise of CIFAR-10's."""
    packed = archive_bytes()
    served.files = {cifar10.ARCHIVE: packed}
    digest = hashlib.sha256(packed).hexdigest()
    return Cifar10(RemoteFile(cifar10.ARCHIVE, len(packed), digest, (served.address,)), record_bytes=3073)


def silent(*about):
    pass


def get(dataset, root, **options):
    fetch(dataset, root, quick(), say=silent, **options)


def everything(root):
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file() and path.name != ".lock")


def test_mnist_is_fetched_once(served, mnist, tmp_path):
    get(mnist, tmp_path)
    assert everything(tmp_path) == sorted(f"mnist/{name}.gz" for name in CONTENTS) and mnist.problems(tmp_path) == []
    asked = len(served.requests)
    get(mnist, tmp_path)
    assert len(served.requests) == asked == 4


def test_only_what_is_missing_or_damaged_is_fetched(served, mnist, tmp_path):
    get(mnist, tmp_path)
    names = list(served.files)
    (tmp_path / "mnist" / names[0]).write_bytes(b"damaged")
    (tmp_path / "mnist" / names[1]).unlink()
    assert len(mnist.problems(tmp_path)) == 2
    served.requests.clear()
    get(mnist, tmp_path)
    assert [name for name, _ in served.requests] == names[:2] and mnist.problems(tmp_path) == []


def test_files_put_there_by_hand_count_plain_or_gzipped_anew(served, mnist, tmp_path):
    for k, (name, content) in enumerate(CONTENTS.items()):
        path = tmp_path / (name if k % 2 else f"{name}.gz")
        path.write_bytes(content if k % 2 else gzip.compress(content, 1))
    get(mnist, tmp_path, offline=True)
    assert served.requests == []


def test_cifar10_is_unpacked_and_its_archive_removed(cifar, tmp_path):
    get(cifar, tmp_path)
    folder = tmp_path / "cifar10" / cifar10.FOLDER
    assert everything(tmp_path) == sorted(f"cifar10/{cifar10.FOLDER}/{name}" for name in (*RECORDS, SUMS))
    assert all((folder / name).read_bytes() == content for name, content in RECORDS.items())
    assert cifar.problems(tmp_path) == []


def test_the_archive_alone_will_do(served, cifar, tmp_path, monkeypatch):
    monkeypatch.setattr(cifar10, "IMAGES_PER_FILE", 1)
    (tmp_path / cifar10.ARCHIVE).write_bytes(served.files[cifar10.ARCHIVE])
    get(cifar, tmp_path, offline=True)
    from_archive = data.load("cifar10", tmp_path, validation=2)
    get(cifar, tmp_path / "fetched")
    fetched = data.load("cifar10", tmp_path / "fetched", validation=2)
    assert from_archive.train.labels.tolist() == [3] * 3 and from_archive.manifest == fetched.manifest


def test_a_changed_batch_file_is_seen_and_fetched_again(cifar, tmp_path):
    get(cifar, tmp_path)
    path = tmp_path / "cifar10" / cifar10.FOLDER / "data_batch_2.bin"
    path.write_bytes(bytes(3073))
    assert [str(problem) for problem in cifar.problems(tmp_path)] == [f"{str(path)!r}: missing or damaged"]
    get(cifar, tmp_path)
    assert path.read_bytes() == RECORDS["data_batch_2.bin"] and cifar.problems(tmp_path) == []


def test_batch_files_without_sums_are_not_called_verified(cifar, tmp_path):
    get(cifar, tmp_path)
    (tmp_path / "cifar10" / cifar10.FOLDER / SUMS).unlink()
    assert "the files in its folder cannot be verified" in str(cifar.problems(tmp_path)[0])


def test_an_interrupted_fetch_keeps_its_part_and_goes_on(served, cifar, tmp_path):
    size = len(served.files[cifar10.ARCHIVE])
    served.cut = [size // 2, 0]
    with pytest.raises(InputOutputError, match="ended early.*what has arrived is kept; run again to continue"):
        get(cifar, tmp_path)
    part, = everything(tmp_path)
    assert part.endswith(".part") and (tmp_path / part).stat().st_size == size // 2
    get(cifar, tmp_path)
    assert served.requests[-1] == (cifar10.ARCHIVE, f"bytes={size // 2}-") and cifar.problems(tmp_path) == []


def test_ctrl_c_keeps_the_part(served, cifar, tmp_path):
    def interrupt(received, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(cifar, tmp_path, Downloader(schemes=("http",), progress=interrupt), say=silent)
    part, = everything(tmp_path)
    assert (tmp_path / part).stat().st_size > 0
    get(cifar, tmp_path)
    assert cifar.problems(tmp_path) == []


@pytest.mark.parametrize("name", ["mnist", "cifar"])
def test_wrong_bytes_leave_nothing_behind(served, name, tmp_path, request):
    dataset = request.getfixturevalue(name)
    served.files = {name: bytes([content[0] ^ 1]) + content[1:] for name, content in served.files.items()}
    with pytest.raises(BadInput, match="could not be fetched .*the wrong bytes are deleted"):
        get(dataset, tmp_path)
    assert everything(tmp_path) == []


def test_a_file_cut_short_by_a_server_that_says_no_length_is_wrong(served, cifar, tmp_path):
    served.lengths, served.cut = False, [100]
    with pytest.raises(BadInput, match="100 bytes with SHA-256"):
        get(cifar, tmp_path)
    assert everything(tmp_path) == []


def test_a_gzip_bomb_in_place_of_a_file_is_refused(served, mnist, tmp_path):
    served.files = dict.fromkeys(served.files, gzip.compress(bytes(50_000_000)))
    with pytest.raises(BadInput, match="more than the 1,000 bytes"):
        get(mnist, tmp_path)


def test_a_part_of_another_version_is_begun_again(served, cifar, tmp_path):
    served.cut = [50, 0]
    with pytest.raises(InputOutputError):
        get(cifar, tmp_path)
    part = tmp_path / everything(tmp_path)[0]
    part.write_bytes(bytes(50))
    get(cifar, tmp_path)
    assert cifar.problems(tmp_path) == []


def test_the_next_mirror_is_tried_and_parts_of_mirrors_do_not_mix(served, cifar, tmp_path):
    good = served.files[cifar10.ARCHIVE]
    served.files |= {f"bad/{cifar10.ARCHIVE}": bytes(len(good))}
    get(cifar, tmp_path, mirrors=[served.address + "none", served.address + "bad/"])
    assert [path for path, _ in served.requests] == [below + cifar10.ARCHIVE for below in ("none/", "bad/", "")]
    assert cifar.problems(tmp_path) == []


def test_what_a_mirror_given_up_has_sent_is_removed_once_the_file_is_there(served, cifar, tmp_path):
    served.files[f"first/{cifar10.ARCHIVE}"] = served.files[cifar10.ARCHIVE]
    served.cut = [50, 0]
    get(cifar, tmp_path, mirrors=[served.address + "first"])
    assert not any(name.endswith(".part") for name in everything(tmp_path)) and cifar.problems(tmp_path) == []


def test_a_mirror_that_is_not_https_is_refused_before_anything_is_asked(tmp_path):
    with pytest.raises(UsageError, match="only https"):
        fetch(DATASETS["mnist"], tmp_path, Downloader(), mirrors=["http://127.0.0.1/"])


def test_offline_opens_no_connection_and_says_what_is_missing(mnist, tmp_path, monkeypatch):
    def refuse(*about, **more):
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    with pytest.raises(BadInput, match=r"mnist/train-images-idx3-ubyte.gz' is missing \(contents' SHA-256 .*offline"):
        get(mnist, tmp_path, offline=True)
    assert everything(tmp_path) == []


def test_two_fetches_do_not_share_a_folder(cifar, tmp_path):
    (tmp_path / "cifar10").mkdir()
    with locked(tmp_path / "cifar10"), pytest.raises(Busy):
        get(cifar, tmp_path)


def test_a_folder_that_cannot_be_made_is_named(cifar, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotCreate, match="choose another with --data-path"):
        get(cifar, tmp_path / "file")


def run(capsys, *arguments):
    code = main(list(arguments))
    return (code, *capsys.readouterr())


def test_fetch_and_where_and_verify_on_the_command_line(capsys, served, mnist, tmp_path, monkeypatch):
    monkeypatch.setitem(DATASETS, "mnist", mnist)
    monkeypatch.setattr("tinyq.data.__main__.Downloader", lambda progress: Downloader(("http",), progress=progress))
    where = ("--data-path", str(tmp_path))
    assert run(capsys, "where", *where)[1].startswith(f"mnist: {tmp_path}/mnist (missing)\n")
    code, out, err = run(capsys, "fetch", "mnist", *where)
    assert code == 0 and "mnist: complete and verified" in out and "\r" not in err
    assert run(capsys, "where", "mnist", *where)[1] == f"mnist: {tmp_path}/mnist (there)\n"
    assert run(capsys, "verify", *where)[:2] == (0, f"mnist: verified, {tmp_path}/mnist\n")
    damaged, gone, *_ = sorted(tmp_path.rglob("*.gz"))
    damaged.write_bytes(b"damaged")
    gone.unlink()
    code, out, err = run(capsys, "verify", *where)         # a dataset of which only a part is there is meant too
    assert code == 65 and sorted(out.splitlines()) == [f"mnist: WRONG, {damaged}", f"mnist: missing, {gone}"]
    assert err.count("\n") == 1 and "files missing: 1, wrong: 1; fetch them: " in err
    assert err.endswith(f"fetch mnist --data-path {tmp_path}\n")


@pytest.mark.parametrize("arguments, code, message", [
    (["fetch", "mnst"], 2, "choose from: mnist, cifar10"),
    (["fetch"], 2, "name the datasets"),
    (["fech"], 2, "fech"),
    (["fetch", "mnist", "--mirror", "http://127.0.0.1/"], 2, "only https"),
    (["fetch", "cifar10", "--offline"], 65, "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"),
    (["verify"], 65, "no dataset here"),
    (["verify", "cifar10"], 65, "files missing: 1, wrong: 0; fetch them: python -m tinyq.data fetch cifar10"),
])
def test_mistakes_end_in_one_line_and_their_exit_code(capsys, tmp_path, monkeypatch, arguments, code, message):
    monkeypatch.setenv("TINYQ_DATA", str(tmp_path))
    got, _, err = run(capsys, *arguments)
    assert got == code and message in err and err.count("\n") == 1


def test_help_ends_with_an_example(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "  python -m tinyq.train --model lenet --data mnist --data-path datasets"


def test_the_pinned_files_are_the_real_ones(shared_data):
    assert DATASETS["mnist"].problems(shared_data("mnist")) == []
    assert all(mirror.startswith("https://") for file in (*remote.MNIST, remote.CIFAR10) for mirror in file.mirrors)


def test_a_read_only_folder_can_be_verified_and_loaded_from(shared_data):
    assert np.bincount(data.load("mnist", shared_data("mnist")).test.labels)[0] == 980


@pytest.mark.parametrize("words, message", [
    ("list", "tinyq.data list: no such command; choose from: fetch, verify, where"),
    ("fetsh mnist", "tinyq.data fetsh: no such command; did you mean 'fetch'?"), ("", "tinyq.data: give a command"),
    ("fetch", "tinyq.data fetch: name the datasets"), ("where --bad", "--bad: no such flag"),
    ("fetch imagenet", "cannot fetch or verify 'imagenet'")])
def test_words_that_are_no_command_are_named(words, message, capsys):
    assert main(words.split()) == 2
    assert message in capsys.readouterr().err
