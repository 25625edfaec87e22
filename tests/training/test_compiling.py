"""Compiled training: the same losses, few compilations, and a compiler that is missing."""

from functools import partial

import pytest
import torch

from DOTA_devkit.errors import InputError
from helpers.networks import tiny_model
from models.heads_at_cells import EMPTY
from training.compiling import CompiledNetwork, check_compiler

CPU = torch.device("cpu")


@pytest.mark.slow  # traces a network
def test_it_computes_the_same_and_is_compiled_once_for_other_sizes(monkeypatch):
    """The compiler itself is left out: it takes minutes on a CPU."""
    from torch._dynamo.testing import CompileCounter

    counter = CompileCounter()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=counter))
    model = tiny_model(box_coding="rectangle", head_bn=True).train()
    plain = tiny_model(box_coding="rectangle", head_bn=True).train()
    compiled = CompiledNetwork(model)
    assert [id(one) for one in compiled.parameters()] == [id(one) for one in model.parameters()]
    for images, objects in ((4, 3), (3, 1), (2, 5), (4, 2)):
        x = torch.randn(images, 3, 64, 64, generator=torch.Generator().manual_seed(images))
        cells = torch.full((images, 6), EMPTY)
        cells[:, :objects] = torch.arange(objects) * 17
        ours, theirs = (one(x, logits=True, cells=cells) for one in (compiled, plain))
        assert ours.keys() == theirs.keys()
        for name, values in ours.items():
            assert values.shape == theirs[name].shape
            assert (values - theirs[name]).abs().max() < 1e-4
    assert counter.frame_count == 2  # for the first size, and then for all others
    assert model.state_dict().keys() == plain.state_dict().keys()


@pytest.mark.parametrize(("device", "needed"), [("cpu", r"g\+\+ or clang"), ("cuda", "Triton")])
def test_without_a_compiler(monkeypatch, device, needed):
    def fail(function):
        raise RuntimeError("\nNo working compiler found\n\nmore text")

    monkeypatch.setattr(torch, "compile", fail)
    with pytest.raises(InputError, match=f"`compile` needs .*{needed}.*RuntimeError: No working "):
        check_compiler(torch.device(device))
