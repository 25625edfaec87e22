"""gather_cells: the cell index is y * W + x, and the channels come last."""

import pytest
import torch

from models.losses import gather_cells


@pytest.fixture
def feature_map() -> torch.Tensor:
    """[2, 3, 4, 5], each value encodes its index: b c y x as decimal digits."""
    b, c, y, x = torch.meshgrid(*(torch.arange(n) for n in (2, 3, 4, 5)), indexing="ij")
    return (1000 * b + 100 * c + 10 * y + x).float()


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_gather_cells_per_image(feature_map, memory_format):
    cells = torch.tensor([[0, 1 * 5 + 4], [3 * 5 + 4, 2 * 5 + 0]])
    values = gather_cells(feature_map.contiguous(memory_format=memory_format), cells)
    assert values.tolist() == [
        [[0, 100, 200], [14, 114, 214]],
        [[1034, 1134, 1234], [1020, 1120, 1220]],
    ]


def test_gather_no_cells(feature_map):
    assert gather_cells(feature_map, torch.zeros(2, 0, dtype=torch.int64)).shape == (2, 0, 3)
