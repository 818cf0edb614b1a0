"""The programs of bench/embedded compile for a core and run there."""
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[4] / "bench"))
