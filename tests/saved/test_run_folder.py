"""A run folder found again from another working directory."""
import numpy as np
import pytest
from PIL import Image

from tinyq.__main__ import main as tinyq
from tinyq.errors import BadInput
from tinyq.files import hdf5
from tinyq.run.settings.resolve import resolve
from tinyq.saved.run_folder import anchored, data_paths_beside, weights_file


def test_paths_are_made_absolute_and_names_are_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = {"model": "mine.py:net", "data": "imagefolder", "method": "cbp", "recipe": "none", "data_path": "pictures",
             "weights": "w.h5", "imagefolder.classes": "names.txt"}
    config = anchored(resolve(given)).config
    assert (config.model, config.data_path) == (f"{tmp_path}/mine.py:net", f"{tmp_path}/pictures")
    assert config.weights == f"{tmp_path}/w.h5" and config.options["imagefolder"]["classes"] == f"{tmp_path}/names.txt"
    assert anchored(resolve({})) == resolve({})


def test_a_folder_stands_for_the_network_in_it(tmp_path):
    hdf5.write(tmp_path / "w.h5", {"w": np.zeros(2, np.float32)}, {})
    assert weights_file(tmp_path / "w.h5") == tmp_path / "w.h5"
    with pytest.raises(BadInput, match="none.h5: cannot be read"):
        weights_file(tmp_path / "none.h5")
    with pytest.raises(BadInput, match=r"neither a run \(no config\.toml\) nor a weight file"):
        weights_file(tmp_path)
    (tmp_path / "seed-1").mkdir()
    (tmp_path / "seed-1" / "config.toml").touch()
    with pytest.raises(BadInput, match="a folder of runs; name one of them, such as .*seed-1$"):
        weights_file(tmp_path)
    (tmp_path / "config.toml").touch()
    with pytest.raises(BadInput, match="not finished; name a file of .*, or go on with: .* --resume"):
        weights_file(tmp_path)
    (tmp_path / "model.h5").touch()
    assert weights_file(tmp_path) == tmp_path / "model.h5"
    assert data_paths_beside(tmp_path / "model.h5", "mnist") == {}


def test_pictures_and_their_list_of_classes_are_found_again(tmp_path, monkeypatch, capsys):
    rng = np.random.Generator(np.random.Philox(0))
    for part in ("train", "val"):
        for k in range(4):
            folder = tmp_path / "pictures" / part / "ab"[k % 2]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).save(folder / f"{k}.png")
    (tmp_path / "names.txt").write_text("b\na\nc\n")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    line = ("train --recipe none --model mlp:4 --data imagefolder --data-path pictures --imagefolder.classes names.txt "
            "--imagefolder.size 8 --imagefolder.resize 8 --imagefolder.validation 0 --method backprop --epochs 1 "
            "-b 2 --threads 1 -j 0 --output r")
    assert tinyq(line.split()) == 0
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert tinyq(["evaluate", "../r", "--threads", "1"]) == 0
    assert "n = 4" in capsys.readouterr().out
    (tmp_path / "names.txt").rename(tmp_path / "classes.txt")
    config = tmp_path / "r" / "config.toml"
    config.write_text(config.read_text().replace("names.txt", "classes.txt"))
    assert tinyq(["train", "--resume", "../r", "--max-steps", "9"]) == 0
