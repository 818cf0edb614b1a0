"""The table of networks in models/README.md is what bench/networks.py prints."""
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", ["lenet", "resnet20", "resnet18"])
def test_the_page_holds_the_row_of_each_network(name, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "bench")
    import networks as table

    assert table.row(name, *table.NETWORKS[name]) in (ROOT / "models" / "README.md").read_text().splitlines()
