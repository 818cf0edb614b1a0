"""Modules of the bench can be imported; they come last, and take no test's names."""
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2] / "bench"))
