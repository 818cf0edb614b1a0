"""A run writes only into a folder of its user's, free of links."""
import os

import pytest

from tinyq.errors import CannotCreate
from tinyq.files import own_folder


def give_away(path, monkeypatch):
    """Make a file or folder another user's, from where this process stands."""
    if os.geteuid() == 0:
        os.chown(path, 12345, -1, follow_symlinks=False)
    else:
        other = os.geteuid() + 1
        monkeypatch.setattr(os, "geteuid", lambda: other)


def test_ones_own_folder_is_taken(tmp_path):
    (tmp_path / "plots").mkdir()
    (tmp_path / "plots" / "a.svg").touch()
    os.link(tmp_path / "plots" / "a.svg", tmp_path / "b.svg")
    (tmp_path.parent / "a link of mine").symlink_to(tmp_path)
    own_folder.check_own_folder(tmp_path)
    own_folder.check_own_folder(tmp_path.parent / "a link of mine")


@pytest.mark.parametrize("inside", ["config.toml", ".lock", "plots", "plots/curves.svg", "checkpoints/a/b/c"])
@pytest.mark.parametrize("target", ["file", "folder", "nowhere"])
def test_a_folder_with_a_link_anywhere_is_refused(tmp_path, inside, target):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    link = tmp_path / "run" / inside
    link.parent.mkdir(parents=True)
    link.symlink_to(tmp_path / target)
    with pytest.raises(CannotCreate, match=f"{inside}: is a link"):
        own_folder.check_own_folder(tmp_path / "run")


@pytest.mark.parametrize("inside", [".", "checkpoints"])
def test_the_folder_of_another_user_is_refused(tmp_path, monkeypatch, inside):
    (tmp_path / inside).mkdir(exist_ok=True)
    give_away(tmp_path / inside, monkeypatch)
    with pytest.raises(CannotCreate, match="belongs to another user"):
        own_folder.check_own_folder(tmp_path)


def test_a_folder_by_another_users_link_is_refused(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "mine")
    give_away(tmp_path / "link", monkeypatch)
    with pytest.raises(CannotCreate, match="belongs to another user"):
        own_folder.check_own_folder(tmp_path / "link")


def test_a_folder_that_every_user_may_change_is_refused(tmp_path):
    for mode, refused in ((0o777, True), (0o1777, False), (0o775, False)):
        tmp_path.chmod(mode)
        if refused:
            with pytest.raises(CannotCreate, match="every user may change"):
                own_folder.check_not_shared(tmp_path)
        else:
            own_folder.check_not_shared(tmp_path)
