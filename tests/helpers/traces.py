"""Traces of networks for ONNX files, which are made once for all tests that export a network."""

import copy
import functools
import hashlib
from importlib.util import find_spec

import torch


def remember_traces(patch, count=6):
    """Let `deploy.export` copy what it has traced before, for the last `count` networks.

    Args:
        patch: a `pytest.MonkeyPatch`.
        count: as each of them takes some 50 MB.
    """
    if not all(map(find_spec, ("onnx", "onnxruntime", "onnxscript"))):
        return
    from torch.onnx._internal.exporter import _registration

    from deploy.export import network_onnx

    trace, known = network_onnx._trace, {}

    def remembered(module, example, outputs):
        key = (_digest(module), tuple(example.shape), tuple(outputs))
        known[key] = known.pop(key, None) or trace(module, example, outputs)
        if len(known) > count:
            del known[next(iter(known))]
        return copy.deepcopy(known[key])

    patch.setattr(network_onnx, "_trace", remembered)
    # A table of all operators, which PyTorch makes again for each trace.
    registry = getattr(_registration, "ONNXRegistry", None)
    if hasattr(registry, "from_torchlib"):
        made_once = functools.cache(registry.from_torchlib)
        patch.setattr(registry, "from_torchlib", staticmethod(made_once))


def _digest(module):
    """Return a digest of all that a module computes with: its parts, their settings, weights."""
    digest = hashlib.sha256()
    for name, part in module.named_modules(remove_duplicate=False):
        settings = [
            (key, value)
            for key, value in sorted(vars(part).items())
            if isinstance(value, (bool, int, float, str, tuple))
        ]
        digest.update(f"{name} {type(part)} {type(part).forward} {settings}".encode())
    for name, value in module.state_dict().items():
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.digest()
