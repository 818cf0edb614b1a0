"""Functions around the calls of modules."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from tinyq.autodiff import Tensor

if TYPE_CHECKING:
    from tinyq.nn.module import Module


class Hook:
    """Function around each call of a module until remove(): hook(module, call, *inputs, **options)."""

    def __init__(self, module: Module, hook: Callable[..., Tensor]) -> None:
        """Register the hook, outside those that are there."""
        self.module, self.around = module, partial(hook)                # an object of its own, registered twice or not
        module.hooks = (*module.hooks, self.around)

    def remove(self) -> None:
        """Take the hook off."""
        self.module.hooks = tuple(hook for hook in self.module.hooks if hook is not self.around)


@contextmanager
def hooked(modules: Iterable[Module], hook: Callable[..., Tensor]) -> Iterator[None]:
    """Replace each call of these modules inside by hook(module, call, *inputs, **options), which returns the output.

    call(*inputs, **options) computes the output without the hook. Hooks nest; the latest is the outermost.
    """
    registered = [Hook(module, hook) for module in modules]
    try:
        yield
    finally:
        for one in registered:
            one.remove()
