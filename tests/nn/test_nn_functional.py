"""tinyq.nn.functional: the primitives by name."""
from tinyq.autodiff import PRIMITIVES
from tinyq.nn import functional


def test_functional_names_every_primitive_of_autodiff_and_nothing_else():
    own = {name: op for name, op in PRIMITIVES.items() if op.forward.__module__.startswith("tinyq.autodiff.")}
    assert {name: getattr(functional, name) for name in functional.__all__} == own
