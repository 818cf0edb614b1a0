"""Recognise a file of weights by its first bytes, and name what else it may be."""
import io
import re
import zipfile
from pathlib import Path

from tinyq.errors import BadInput
from tinyq.files.hdf5_bytes import find_signature
from tinyq.files.read import read_file, read_start

START = 1 << 20                         # bytes that are looked at
HDF5, SAFETENSORS, TORCH, ONNX = "HDF5", "safetensors", "PyTorch", "ONNX"
_DOWNLOAD = "download the file of weights itself"
_PAGE = re.compile(rb"\s*(<!doctype html|<html|<head|<!--|<\?xml)", re.IGNORECASE)
_PICKLE = re.compile(rb"[\x80(\])}]|c[\w.]+\n\w+\n")   # a protocol, a value, or the name of a class
_ONNX = re.compile(rb"\x08[\x03-\x1f][\x12\x1a\x22\x28\x32:B]")       # a version, then a text, a number or a graph
# (first bytes, what such a file is and what to do)
_OTHERS = (
    (b"version https://git-lfs", f"a Git LFS pointer, not the file that it stands for: git lfs pull, or {_DOWNLOAD}"),
    (b"\x1f\x8b", "compressed with gzip; unpack it with gunzip or tar"),
    (b"BZh", "compressed with bzip2; unpack it"), (b"\xfd7zXZ", "compressed with xz; unpack it"),
    (b"(\xb5/\xfd", "compressed with zstd; unpack it"), (b"7z\xbc\xaf", "a 7z archive; unpack it"),
    (b"Rar!", "a RAR archive; unpack it"),
    (b"\x93NUMPY", "a NumPy array (.npy); save all weights by name as .safetensors"),
    (b"\x08\x01\x12", "a TensorFlow SavedModel, which is a program; save its weights by name as HDF5 or .safetensors"),
    (b"GGUF", "a GGUF file, whose weights tinyq does not read; give the original weights"),
    (b"{", "a JSON text, perhaps the index of weights in several files; give a file of the weights themselves"),
)


def kind_of(path: str | Path) -> str:
    """Return HDF5, SAFETENSORS, ONNX or TORCH (also for a plain pickle), whatever the file's suffix.

    BadInput names a file that is none of them: empty, a web page, a Git LFS pointer, a TorchScript or other archive,
    a text.
    """
    start = read_start(path, START)
    if find_signature(start) is not None:
        return HDF5
    if _begins_as_safetensors(start):
        return SAFETENSORS
    if _ONNX.match(start):
        return ONNX
    other = _what_else(start, Path(path))
    if other:
        raise BadInput(f"{path}: is {other}")
    return TORCH


def _begins_as_safetensors(start):
    return start[8:9] == b"{" and 2 <= int.from_bytes(start[:8], "little") < 1 << 40


def _what_else(start, path):
    """Return what a file is that is not PyTorch's; None if it may be."""
    if not start:
        return "empty; its download or its save did not finish"
    if _PAGE.match(start.removeprefix(b"\xef\xbb\xbf")):
        return f"a web page (HTML), perhaps an error message or a login; {_DOWNLOAD}"
    if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _archive(path)
    if start[4:8] == b"TFL3":
        return "a TensorFlow Lite network; give weights that PyTorch, safetensors or HDF5 hold"
    for begin, other in _OTHERS:
        if start.startswith(begin):
            return other
    if start[257:262] == b"ustar" or _PICKLE.match(start):
        return None
    if _is_text(start[:4096]):
        return f"a text that begins with {start[:40].decode(errors='replace')!r}; {_DOWNLOAD}"
    return (f"of a kind that tinyq does not know (its first bytes are {start[:8].hex(' ')}); give weights "
            "that PyTorch, safetensors or HDF5 hold")


def _is_text(start):
    return all(character.isprintable() or character in "\r\n\t" for character in start.decode(errors="replace"))


def _archive(path):
    """Return what a zip archive holds, if it is not one that torch.save wrote."""
    data = read_file(path)
    try:
        names = zipfile.ZipFile(io.BytesIO(data)).namelist()
    except Exception:                                           # cut short: torch_weights says so
        return None
    inner = {name.partition("/")[2] for name in names}
    if "constants.pkl" in inner or any(name.startswith("code/") for name in inner):
        return ("a TorchScript archive, which holds a program; save the weights alone: "
                "torch.save(torch.jit.load(FILE).state_dict(), ...)")
    if "config.json" in names and any(name.endswith(".weights.h5") for name in names):
        return "a Keras archive; its weights by name are what Keras 2 saves with save_weights(...h5)"
    if any(name.endswith(("/archive_format", "serialized_exported_program.json")) for name in names):
        return ("an archive of torch.export, which holds a program; save the weights alone: "
                "torch.save(torch.export.load(FILE).state_dict, ...)")
    if names and all(name.endswith(".npy") for name in names):
        return "a NumPy archive (.npz); save its arrays by name as .safetensors"
    if any(name.endswith("data.pkl") for name in names):
        return None
    return f"a zip archive of {', '.join(names[:3]) or 'nothing'}{' ...' if len(names) > 3 else ''}; unpack it"
