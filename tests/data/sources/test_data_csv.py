"""A user's own table: separators, headers, columns, labels, and the line of what does not fit."""
import gzip

import numpy as np
import pytest

from tinyq import data
from tinyq.errors import BadInput, UsageError

RNG = np.random.Generator(np.random.Philox(6))
ROWS = [[f"{a:.2f}", f"{b:.1f}", name] for a, b, name in
        zip(RNG.normal(size=40), RNG.normal(size=40), ["cat", "dog"] * 20, strict=True)]


def table(rows=ROWS, header=None, separator=",", end="\n"):
    return end.join(separator.join(row) for row in ([header] if header else []) + rows) + end


@pytest.fixture
def load(tmp_path):
    def load(text, name="own.csv", **options):
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        return data.load("csv", tmp_path / name, **options)
    return load


def test_the_last_column_is_the_label_and_the_rest_are_numbers(load):
    bundle = load(table(), test=0, validation=0)
    assert bundle.class_names == ("cat", "dog") and bundle.input_shape == (2,)
    assert np.array_equal(bundle.train.values, [[float(a), float(b)] for a, b, _ in ROWS])
    assert [bundle.class_names[k] for k in bundle.train.labels] == [name for *_, name in ROWS]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|", ", "], ids=["comma", "semicolon", "tab", "bar", "spaced"])
@pytest.mark.parametrize("change", [
    lambda text: text, lambda text: "\ufeff" + text, lambda text: text.replace("\n", "\r\n"),
    lambda text: text + "\n\n",
    lambda text: text.replace("cat", '"cat"'), lambda text: text[:-1], lambda text: text.encode("utf-16"),
    lambda text: gzip.compress(text.encode())],
    ids=["plain", "mark", "CRLF", "empty lines", "quotes", "no end", "UTF-16", "gz"])
def test_every_spelling_of_a_table_is_the_same_table(load, separator, change):
    assert load(change(table(separator=separator))).manifest == load(table()).manifest


def test_quotes_may_hold_the_separator(load):
    text = table().replace("cat", '"cat, or so"')
    assert load(text).class_names == ("cat, or so", "dog")


def test_a_header_is_known_by_a_text_above_a_number(load):
    bundle = load(table(header=["width", "height", "kind"]))
    assert bundle.read["features"] == ["width", "height"] and bundle.read["label"] == ["kind"]
    assert bundle.manifest["sha256"] == load(table()).manifest["sha256"]
    assert len(load(table(header=["1", "2", "3"]), header="yes").train.labels) == len(load(table()).train.labels)
    with pytest.raises(BadInput, match="line 1, column '1': 'width', no number"):
        load(table(header=["width", "height", "kind"]), header="no")


@pytest.mark.parametrize("header, options, label", [
    (["label", "a", "b"], {}, "label"), (["a", "Class", "b"], {}, "Class"), (["y", "target", "b"], {}, "b"),
    (["a", "b", "c"], {"label": "a"}, "a"), (["a", "b", "c"], {"label": "2"}, "b"),
    (["a", "b", "c"], {"label": "-3"}, "a")])
def test_the_label_is_a_column_by_name_or_number(load, header, options, label):
    rows = [[str(k % 3), str(k % 2), str(k % 4)] for k in range(40)]
    assert load(table(rows, header), **options).read["label"] == [label]


def test_columns_may_be_left_out(load):
    rows = [[f"name {k}", *row] for k, row in enumerate(ROWS)]
    with pytest.raises(BadInput, match="line 1, column '1': 'name 0', no number.*csv.ignore"):
        load(table(rows))
    assert load(table(rows), ignore="1").manifest["sha256"] == load(table()).manifest["sha256"]


@pytest.mark.parametrize("labels, options, kind, names", [
    (["3", "-1"], {}, "classes", ("-1", "3")), (["0.5", "1"], {}, "numbers", ("0",)),
    (["1", "x"], {}, "classes", ("1", "x")),
    (["1.0", "2.0"], {"targets": "classes"}, "classes", ("1", "2")),
    (["1", "2"], {"targets": "numbers"}, "numbers", ("0",))])
def test_what_the_label_is_follows_from_its_column(load, labels, options, kind, names):
    bundle = load(table([["1", str(k), labels[k % 2]] for k in range(40)]), **options)
    assert (bundle.targets, bundle.class_names) == (kind, names)


def test_several_columns_are_labels_or_numbers_named_by_the_header(load):
    rows = [[str(k), str(k % 2), str(k // 2 % 2)] for k in range(40)]
    labels = load(table(rows, ["x", "red", "round"]), label="red,round")
    assert (labels.targets, labels.class_names, labels.target_shape) == ("labels", ("red", "round"), (2,))
    numbers = load(table(rows, ["x", "red", "round"]), label="round,x")
    assert (numbers.targets, numbers.class_names) == ("numbers", ("round", "x"))


def test_columns_may_be_the_pixels_of_a_picture(load):
    rows = [[str(v) for v in RNG.integers(0, 17, 6)] + [str(k % 2)] for k in range(40)]
    bundle = load(table(rows), shape="2,3", brightest=16, test=0, validation=0)
    assert bundle.input_shape == (1, 2, 3) and bundle.train.images.dtype == np.uint8
    assert bundle.train.images.reshape(40, 6).tolist() == [list(map(int, row[:-1])) for row in rows]
    with pytest.raises(BadInput, match=r"6 columns of inputs, which the shape \(2, 2\) does not take"):
        load(table(rows), shape="2,2")
    with pytest.raises(UsageError, match="shape big: give whole numbers"):
        load(table(rows), shape="big")


def test_the_first_row_of_scikit_learn_names_the_classes(load):
    rows = [["1", str(k), str(k % 2)] for k in range(40)]
    assert load(table(rows, ["40", "2", "no", "yes"])).class_names == ("no", "yes")
    assert load(table(rows, ["40", "9" * 5000, "a"])).class_names == ("0", "1")


def test_a_folder_holds_the_table_of_each_part(tmp_path):
    for name, rows in (("train.csv", ROWS[:20]), ("test.csv", ROWS[20:30]), ("val.csv", ROWS[30:])):
        (tmp_path / name).write_text(table(rows))
    bundle = data.load("csv", tmp_path)
    assert (len(bundle.train), len(bundle.validation), len(bundle.test)) == (20, 10, 10)
    (tmp_path / "validation.csv").write_text(table())
    with pytest.raises(BadInput, match="'validation.csv', 'val.csv' are the same part"):
        data.load("csv", tmp_path)
    (tmp_path / "validation.csv").unlink()
    (tmp_path / "val.csv").write_text(table(header=["a", "b", "c"]))
    with pytest.raises(BadInput, match="train and validation have other columns"):
        data.load("csv", tmp_path)


@pytest.mark.parametrize("text, message", [
    ("", "is empty"), ("\n\n", "is empty"), ("a,b\n", "has one row"), ("1\n2\n3\n", "has one column"),
    (table([*ROWS, ["1", "2"]]), "line 41 has 2 columns, where others have 3"),
    (table([*ROWS, ["1", "2", "3", "4"]]), "line 41 has 4 columns, where others have 3"),
    (table([*ROWS, ["", "2", "cat"]]), "line 41, column '1': no value"),
    (table([*ROWS, ["1_0", "2", "cat"]]), "line 41, column '1': '1_0', no number"),
    (table([*ROWS, ["1", "2", ""]]), "line 41 has no label"),
    (table([*ROWS, ["nan", "2", "cat"]]), "column '1' is not finite in row 41 of the samples"),
    (table([*ROWS, ["1e999", "2", "cat"]]), "column '1' is not finite"),
    (table([["1,5", "2", "cat"]] * 4, separator=";"), "'1,5', no number; complete it, write decimals with a point"),
    (table().encode() + b"\xff", "is no text in UTF-8"),
    (table() + '1,"2', "is no table of comma-separated values"),
    (table() + "1,\0,cat", "is no table|no number"), (gzip.compress(table().encode())[:-9], "cannot be unpacked"),
    (gzip.compress(bytes(70 << 20)), "unpacks to more than"),
    (b"PK\3\4\xff\xfe" + bytes(99), "is no text|is no table"),
    (table() + "1,2," + "x" * 200_000, "is no table of comma-separated values .field larger"),
    (table([["1", "2", f"c{k}"] for k in range(40)]), "40 classes for 40 samples"),
    (table([["1", "2", f"c{k}"] for k in range(5000)]), "more than 4,096 different texts in the column of the label"),
    (table([*ROWS, ["1", "2", "c" * 201]]), "line 41 has a label of 201 characters, over the limit of 200"),
], ids=lambda value: None if isinstance(value, str) and len(value) < 99 else "text")
def test_a_table_that_does_not_fit_is_refused_in_one_line(load, text, message):
    with pytest.raises(BadInput, match=message) as raised:
        load(text)
    assert "\n" not in str(raised.value) and "own.csv" in str(raised.value)


@pytest.mark.parametrize("options, message", [
    ({"label": "kinds"}, "label kinds: .* has no such column; did you mean 'kind'"), ({"label": "9"}, "label 9"),
    ({"label": "--1"}, "label --1: .* has no such column"), ({"label": "9" * 5000}, "has no such column"),
    ({"shape": "9" * 5000}, "give whole numbers"), ({"shape": "0,2"}, "give whole numbers"),
    ({"label": "kind,-1"}, "names a column twice"), ({"ignore": "a,b,c,kind"}, "ignore c"),
    ({"header": "perhaps"}, "header"), ({"ignore": "a,b"}, "no column left for the inputs"),
    ({"label": "a,kind"}, "several columns of targets must be numbers")])
def test_columns_that_are_not_there_are_named(load, options, message):
    with pytest.raises((UsageError, BadInput), match=message):
        load(table(header=["a", "b", "kind"]), **options)


def test_files_that_are_not_there_are_named(tmp_path):
    with pytest.raises(BadInput, match="there is no such file"):
        data.load("csv", tmp_path / "none.csv")
    with pytest.raises(BadInput, match="neither train.csv nor test.csv in this folder"):
        data.load("csv", tmp_path)
    with pytest.raises(BadInput, match="name the file, such as --data table.csv"):
        data.load("csv")
