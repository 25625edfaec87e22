"""Heads at cells: outputs and gradients are those of the whole maps, gathered."""

import pytest
import torch
from torch import nn

from models.heads_at_cells import EMPTY, head_at_cells
from models.losses import gather_cells
from models.model_parts import make_head

HEIGHT, WIDTH = 5, 7
EVERY_CELL = torch.arange(HEIGHT * WIDTH).expand(2, -1)


def some_head(kernel_size: int, batch_norm: bool = False) -> nn.Sequential:
    torch.manual_seed(kernel_size)
    return make_head(3, 8, 4, kernel_size, batch_norm, bias=0.5).double()


def some_features() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 3, HEIGHT, WIDTH, generator=generator, dtype=torch.double)


@pytest.mark.parametrize("kernel_size", [1, 3])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_every_cell_has_the_value_of_the_map(kernel_size, memory_format):
    head, features = some_head(kernel_size), some_features().contiguous(memory_format=memory_format)
    values = head_at_cells(head, features, EVERY_CELL)
    torch.testing.assert_close(values, head(features).flatten(2).transpose(1, 2))


@pytest.mark.parametrize("kernel_size", [1, 3])
def test_gradients_are_those_of_the_gathered_map(kernel_size):
    cells = torch.tensor([[0, 34, 17], [6, 6, EMPTY]])  # corners, one cell twice, an empty slot
    weights = torch.arange(1.0, 25.0, dtype=torch.double).reshape(2, 3, 4)
    gradients = []
    for sparse in (True, False):
        head, features = some_head(kernel_size), some_features().requires_grad_()
        if sparse:
            values = head_at_cells(head, features, cells)
        else:
            values = gather_cells(head(features), cells.clamp(min=0)) * (cells >= 0)[..., None]
        (values * weights).sum().backward()
        gradients.append([features.grad, *(one.grad for one in head.parameters())])
    torch.testing.assert_close(*gradients)


def test_empty_slots_are_0():
    cells = torch.tensor([[EMPTY, 3], [EMPTY, EMPTY]])
    values = head_at_cells(some_head(3), some_features(), cells)
    assert (values[0, 0] == 0).all() and (values[0, 1] != 0).all() and (values[1] == 0).all()


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("kernel_size", [1, 3])
def test_without_cells_there_are_gradients_of_0(kernel_size, batch_norm):
    head = some_head(kernel_size, batch_norm)
    values = head_at_cells(head, some_features(), torch.full((2, 4), EMPTY))
    values.sum().backward()
    assert values.shape == (2, 4, 4)
    assert all((one.grad == 0).all() for one in head.parameters())


def test_batch_norm_sees_the_cells():
    """Of the 1x1 head it has the mean and variance of the hidden values at the cells alone."""
    head, features = some_head(1, batch_norm=True), some_features()
    cells = torch.tensor([[0, 9, EMPTY], [20, 34, 3]])
    hidden = gather_cells(head[0](features), cells.clamp(min=0))[cells >= 0]
    head_at_cells(head, features, cells)
    norm = head[1]
    torch.testing.assert_close(norm.running_mean, 0.1 * hidden.mean(dim=0))
    torch.testing.assert_close(norm.running_var, 0.9 + 0.1 * hidden.var(dim=0))


def test_batch_norm_in_eval_mode_is_that_of_the_map():
    head, features = some_head(3, batch_norm=True).eval(), some_features()
    values = head_at_cells(head, features, EVERY_CELL)
    torch.testing.assert_close(values, head(features).flatten(2).transpose(1, 2))


def test_batch_norm_of_a_single_cell_uses_the_running_statistics():
    head, features = some_head(1, batch_norm=True), some_features()
    cells = torch.tensor([[EMPTY], [11]])
    values = head_at_cells(head, features, cells)
    torch.testing.assert_close(values[1, 0], head.eval()(features)[1].flatten(1)[:, 11])
    assert head[1].num_batches_tracked == 0
