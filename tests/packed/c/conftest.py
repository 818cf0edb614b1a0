"""A folder for compiled objects that tests share."""
import pytest
from compiling import runtime


@pytest.fixture(scope="session", autouse=True)
def objects(tmp_path_factory):
    runtime.folder = tmp_path_factory.mktemp("objects")
