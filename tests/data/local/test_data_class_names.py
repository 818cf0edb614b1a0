"""Lists of class names: whole lines, and the folders that they name."""
import io

import numpy as np
import pytest
from PIL import Image

from tinyq import data
from tinyq.data.local.class_names import class_lines, named_as_folders
from tinyq.errors import BadInput


@pytest.mark.parametrize("written, names", [
    (b"tench\ngreat white shark\n", ["tench", "great white shark"]),
    (b"tench, Tinca tinca\r\ngoldfish\r\n", ["tench, Tinca tinca", "goldfish"]),
    (b"\xef\xbb\xbfpizza\nsushi", ["pizza", "sushi"]),
    ("cr\u00e8me br\u00fbl\u00e9e\nsushi\n".encode("utf-16"), ["cr\u00e8me br\u00fbl\u00e9e", "sushi"]),
    (b"crane\nmaillot\ncrane\nmaillot\n", ["crane", "maillot", "crane", "maillot"]),
    (b"\n  hot dog \t\n\n", ["hot dog"]),
    ("one\x85 name\u2028too\n".encode(), ["one\x85 name\u2028too"]),
])
def test_each_line_is_one_name(tmp_path, written, names):
    (tmp_path / "names.txt").write_bytes(written)
    assert class_lines(tmp_path / "names.txt") == names


@pytest.mark.parametrize("written, reason", [
    (b"\xff\xff", "save it as UTF-8"), (b"", "names no class"), (b"\xef\xbb\xbf\n \n", "names no class")])
def test_a_list_without_names_or_of_no_text_is_refused(tmp_path, written, reason):
    (tmp_path / "names.txt").write_bytes(written)
    with pytest.raises(BadInput, match=reason):
        class_lines(tmp_path / "names.txt")


@pytest.mark.parametrize("lines, folders, names", [
    (["hot dog", "pizza"], {"hot dog", "pizza"}, ["hot dog", "pizza"]),
    (["hot dog", "apple pie", "pizza"], {"pizza"}, ["hot dog", "apple pie", "pizza"]),
    (["n01 tench", "n02 great white shark"], {"n01", "n02"}, ["n01", "n02"]),
    (["n01 tench", "n02 great white shark"], {"n02"}, ["n01", "n02"]),
    (["tiger cat", "tiger shark", "tiger"], {"tiger cat", "tiger"}, ["tiger cat", "tiger shark", "tiger"]),
    (["tiger cat", "tiger shark", "n1 x"], {"n1"}, ["tiger cat", "tiger shark", "n1"]),
    (["crane", "crane", "ox"], {"ox"}, ["crane", "crane", "ox"]),
])
def test_a_line_names_the_folder_of_its_name_or_else_of_its_first_word(lines, folders, names):
    assert named_as_folders(lines, folders, "names.txt") == names


@pytest.mark.parametrize("lines, folders", [(["crane", "crane"], {"crane"}), (["tiger cat", "tiger ox"], {"tiger"})])
def test_two_lines_for_one_folder_are_refused(lines, folders):
    with pytest.raises(BadInput, match="two lines name the class folder"):
        named_as_folders(lines, folders, "names.txt")


def test_folders_with_spaces_are_listed_with_and_without_a_byte_order_mark(tmp_path):
    file = io.BytesIO()
    Image.fromarray(np.zeros((20, 20, 3), np.uint8)).save(file, "PNG")
    for split in ("train", "val"):
        for name in ("hot dog", "pizza"):
            (tmp_path / split / name).mkdir(parents=True)
            (tmp_path / split / name / "0.png").write_bytes(file.getvalue())
    for coding in ("utf-8", "utf-8-sig"):
        (tmp_path / "list.txt").write_text("pizza\nhot dog\n", encoding=coding)
        bundle = data.load("imagefolder", tmp_path, validation=0, size=14, classes=str(tmp_path / "list.txt"))
        assert bundle.class_names == ("pizza", "hot dog")                   # before: refused, or the first words
        assert bundle.train.labels.tolist() == [1, 0]
