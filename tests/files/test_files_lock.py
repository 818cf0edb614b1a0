"""A folder that a command made for nothing is removed again."""
from tinyq.files.lock import locked, removed_if_empty


def test_a_folder_is_removed_where_nothing_but_its_lock_was_left(tmp_path):
    empty, used = tmp_path / "empty", tmp_path / "used"
    for folder in (empty, used):
        folder.mkdir()
        with removed_if_empty(folder), locked(folder):
            if folder is used:
                (folder / "run").mkdir()
    assert not empty.exists() and (used / ".lock").exists()
    with removed_if_empty(tmp_path / "nowhere"):
        pass
