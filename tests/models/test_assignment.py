"""Which cells learn an object: its own, or the nine around it, each cell one object."""

import torch

from models.assignment import object_cells, spread_over_neighbors
from models.heads_at_cells import EMPTY

HEIGHT, WIDTH = 6, 7


def some_targets(*objects: tuple[int, float, float], slots: int = 4) -> dict[str, torch.Tensor]:
    """Targets of two images; each object is (image, center x, center y) in cells."""
    shapes = {"wh": 10, "reg": 2, "cls_theta": 1}
    targets = {name: torch.zeros(2, slots, channels) for name, channels in shapes.items()}
    targets["hm"] = torch.zeros(2, 3, HEIGHT, WIDTH)
    targets["ind"] = torch.zeros(2, slots, dtype=torch.int64)
    targets["reg_mask"] = torch.zeros(2, slots, dtype=torch.uint8)
    filled = [0, 0]
    for number, (image, x, y) in enumerate(objects):
        place = image, filled[image]
        filled[image] += 1
        targets["ind"][place] = int(y) * WIDTH + int(x)
        targets["reg"][place] = torch.tensor([x - int(x), y - int(y)])
        targets["wh"][place] = number + 1
        targets["cls_theta"][place] = number % 2
        targets["reg_mask"][place] = 1
    return targets


def cells_of(spread: dict[str, torch.Tensor], image: int) -> dict[tuple[int, int], int]:
    """The object number of each cell (x, y) that has one."""
    used = spread["reg_mask"][image] != 0
    cells = spread["ind"][image][used].tolist()
    numbers = (spread["wh"][image, used, 0] - 1).int().tolist()
    assert len(set(cells)) == len(cells)
    return {
        (cell % WIDTH, cell // WIDTH): number for cell, number in zip(cells, numbers, strict=True)
    }


def test_cells_of_objects():
    targets = some_targets((0, 2.5, 1.5), (1, 0.2, 5.9), (1, 6.0, 0.0))
    assert object_cells(targets).tolist() == [
        [9, EMPTY, EMPTY, EMPTY],
        [35, 6, EMPTY, EMPTY],
    ]


def test_an_object_is_learned_by_nine_cells():
    spread = spread_over_neighbors(some_targets((0, 2.25, 1.5)))
    assert cells_of(spread, 0) == {(x, y): 0 for x in (1, 2, 3) for y in (0, 1, 2)}
    assert cells_of(spread, 1) == {}
    torch.testing.assert_close(spread["cell_weight"].sum(), torch.tensor(1.0))


def test_offsets_lead_from_each_cell_to_the_center():
    center = torch.tensor([2.25, 4.75])
    spread = spread_over_neighbors(some_targets((1, *center.tolist())))
    cells = spread["ind"][1]
    corner = torch.stack([cells % WIDTH, cells // WIDTH], dim=1)
    torch.testing.assert_close(corner + spread["reg"][1], center.expand(9, 2))


def test_cells_beyond_the_border_are_left_out():
    spread = spread_over_neighbors(some_targets((0, 0.5, 0.5), (0, 6.9, 5.9)))
    corners = {(x, y): 0 for x in (0, 1) for y in (0, 1)}
    assert cells_of(spread, 0) == corners | {(x, y): 1 for x in (5, 6) for y in (4, 5)}
    assert spread["cell_weight"][0].tolist() == [0.25] * 8


def test_a_cell_between_two_objects_learns_the_nearer():
    spread = spread_over_neighbors(some_targets((0, 1.5, 2.5), (0, 3.4, 2.5)))
    # The column between is 1.0 from the one and 0.9 from the other.
    assert {x: number for (x, _), number in cells_of(spread, 0).items()} == {
        0: 0, 1: 0, 2: 1, 3: 1, 4: 1,
    }  # fmt: skip
    weights = spread["cell_weight"][0]
    torch.testing.assert_close(weights.sum(), torch.tensor(2.0))
    assert set(weights.tolist()) == {torch.tensor(1 / 6).item(), torch.tensor(1 / 9).item()}


def test_of_two_objects_in_one_place_the_first_is_learned():
    spread = spread_over_neighbors(some_targets((0, 3.5, 3.5), (0, 3.5, 3.5)))
    assert set(cells_of(spread, 0).values()) == {0}
    assert spread["cell_weight"].sum() == 1


def test_targets_without_objects_have_no_slots():
    spread = spread_over_neighbors(some_targets())
    assert object_cells(spread).shape == (2, 0)
    assert spread["wh"].shape == (2, 0, 10)
