"""Import torchvision's networks without its compiled operators, which are only declared."""
import functools
import importlib
import importlib.util
import re
from pathlib import Path


@functools.cache
def torchvision_models():
    """Import torchvision.models; none of its networks calls torchvision's own operators."""
    import torch

    source = (Path(importlib.util.find_spec("torchvision").origin).parent / "_meta_registrations.py").read_text()
    library = torch.library.Library("torchvision", "DEF")
    for operator in sorted(set(re.findall(r'(?:register_meta\("|torchvision::)(\w+)', source))):
        library.define(f"{operator}(Tensor a) -> Tensor")
    models = importlib.import_module("torchvision.models")
    models.declared_operators = library                     # they last as long as the object does
    return models
