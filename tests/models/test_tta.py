"""Test-time augmentation: what all views see alike stays as it is, what they see differently is
averaged as boxes."""

import numpy as np
import pytest
import torch

from datasets.targets import encode_targets
from decoder import DecDecoder
from models.tta import augmented_maps, nearest_order, see
from structures.boxes import corners_to_vectors, rectangles_to_corners
from structures.views import PLAIN, View, parse_views

HEIGHT, WIDTH = 160, 256

BOXES = [
    (40.3, 30.7, 40, 14, 0),  # upright
    (10.3, 80.7, 14, 40, 0),
    (100.9, 33.1, 40, 14, 89.9),  # on both sides of an axis, where the vectors change places
    (141.9, 33.1, 40, 14, 90.1),
    (200.2, 50.6, 44, 12, 33),
    (60.2, 100.6, 44, 12, -57),
    (120.5, 81.5, 30, 20, 45),
    (160.4, 88.2, 24, 24, 30),  # squares, whose angle is that of any side
    (200.4, 100.2, 24, 24, 0),
    (252.5, 150.5, 40, 12, 20),  # cut by the border
    (2.5, 153.5, 24, 16, 110),
]
"""Center x, center y, width, height, degrees, in pixels of the input."""


def coordinates() -> torch.Tensor:
    """An image that shows where its pixels are: x and y in the first channels."""
    y, x = torch.meshgrid(torch.arange(HEIGHT) + 0.5, torch.arange(WIDTH) + 0.5, indexing="ij")
    return torch.stack([x, y, torch.zeros_like(x)])[None].double()


def exact_network(boxes, rectangles=True, alone=False):
    """A network that finds the boxes in any view of `coordinates()`, by the training targets.

    Args:
        boxes: rows as in `BOXES`, all of label 0.
        rectangles: as with boxes coded as rectangles, of which `cls_theta` is 1.
        alone: the maps of the box are 0 but at the center's cell, else those of the nearest box.
    """

    def network(view):
        assert view.shape[2] % 32 == 0 and view.shape[3] % 32 == 0
        middle = np.array(view.shape[:1:-1]) // 2  # of the view; its borders may be padding
        points = middle + np.array([(0, 0), (0, 8), (8, 0)])
        here = np.array([view[0, :2, int(y), int(x)].numpy() for x, y in points])
        there = points + 0.5
        to_view = np.linalg.solve(np.c_[here, np.ones(3)], np.c_[there, np.ones(3)])[:, :2]
        rows = []
        for x, y, w, h, degrees in boxes:
            turn = np.deg2rad(degrees)
            side = np.array([np.cos(turn), np.sin(turn)]) @ to_view[:2]
            scale = np.hypot(*side)
            center = np.array([x, y, 1]) @ to_view
            rows.append((*center / 4, w * scale / 4, h * scale / 4,
                         np.rad2deg(np.arctan2(side[1], side[0]))))  # fmt: skip
        size = view.shape[2] // 4, view.shape[3] // 4
        return maps_of(np.array(rows, np.float32), size, rectangles, alone)

    return network


def maps_of(rows, size_hw, rectangles, alone):
    targets = encode_targets(rows, np.zeros(len(rows)), 1, size_hw, max_objs=len(rows))
    centers = rows[:, :2]
    y, x = np.meshgrid(*map(np.arange, size_hw), indexing="ij")
    cells = np.stack([x, y], axis=-1)
    nearest = np.hypot(*np.moveaxis(cells[:, :, None] + 0.5 - centers, -1, 0)).argmin(-1)
    wh, reg = targets["wh"][nearest], centers[nearest] - cells
    theta = np.ones((*size_hw, 1)) if rectangles else targets["cls_theta"][nearest]
    hm = targets["hm"]
    if alone:
        mask = np.zeros((*size_hw, 1))
        mask.reshape(-1)[targets["ind"]] = 1
        wh, reg, theta, hm = wh * mask, reg * mask, theta * mask, hm * mask[None, :, :, 0]
    maps = {"hm": hm, "wh": wh.transpose(2, 0, 1), "reg": reg.transpose(2, 0, 1),
            "cls_theta": theta.transpose(2, 0, 1)}  # fmt: skip
    return {
        name: torch.from_numpy(values[None].astype(np.float32)) for name, values in maps.items()
    }


def decoded(maps, conf_thresh=0.3):
    (found,) = DecDecoder(50, conf_thresh, 1).decode(maps)
    return found.nms(0.1)


def in_order(corners):
    """Sort boxes by their centers; the score of none tells it from another."""
    return corners[np.lexsort(corners.mean(axis=1).round(1).T)]


@pytest.mark.parametrize("rectangles", [True, False])
@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("tta", ["flips,turns", "0.7,1.25", "turns,0.9"])
def test_boxes_that_all_views_see_stay(tta, alone, rectangles):
    network = exact_network(BOXES, rectangles, alone)
    plain = decoded(network(coordinates()))
    found = decoded(augmented_maps(network, coordinates(), parse_views(tta)), 0.1)
    assert len(found) == len(plain) == len(BOXES)
    matches = [
        min(np.abs(np.roll(own, turn, axis=0) - other).max() for turn in range(4))
        for own, other in zip(in_order(found.corners), in_order(plain.corners), strict=True)
    ]
    assert max(matches) < 0.01
    if tta == "flips,turns":
        np.testing.assert_allclose(found.scores, plain.scores, atol=1e-5)


@pytest.mark.parametrize("tta", ["flips,turns", "0.7,1.25", "turns,0.9"])
def test_shift_of_all_centers_stays_in_every_view(tta):
    """The network adds it whatever it sees, as labels lie beside their objects in all images."""
    exact, right, down = exact_network(BOXES), 0.2, -0.3

    def network(view):
        maps = exact(view)
        return {**maps, "reg": maps["reg"] + torch.tensor([right, down])[:, None, None]}

    views = parse_views(tta)
    plain = decoded(augmented_maps(exact, coordinates(), views), 0.1)
    found = decoded(augmented_maps(network, coordinates(), views, (right, down)), 0.1)
    np.testing.assert_allclose(
        in_order(found.corners - [4 * right, 4 * down]), in_order(plain.corners), atol=1e-3
    )
    averaged = decoded(augmented_maps(network, coordinates(), parse_views("flips")), 0.1)
    centers = [in_order(one.corners).mean(axis=1) for one in (averaged, plain)]
    np.testing.assert_allclose(*centers, atol=0.05)  # without that knowledge, it is lost in flips


def one_cell(box):
    """Maps of a single cell with a box (width, height, degrees), all of whose scores are 1."""
    corners = rectangles_to_corners(np.array([(0, 0, *box)]))
    _, vectors, sizes = corners_to_vectors(corners)
    maps = {"hm": np.ones((1, 1)), "wh": np.concatenate([vectors, sizes], axis=1),
            "reg": np.full((1, 2), 0.5), "cls_theta": np.ones((1, 1))}  # fmt: skip
    return {
        name: torch.from_numpy(values)[..., None, None].float() for name, values in maps.items()
    }


# What two views see as (width, height, degrees), and their mean.
DISAGREEMENTS = {
    "on both sides of the x axis": ((10, 3, 2), (10, 3, -2), (10, 3, 0)),
    "on both sides of the y axis": ((10, 3, 88), (10, 3, 92), (10, 3, 90)),
    "of two sizes": ((10, 3, 33), (8, 5, 33), (9, 4, 33)),
    "squares": ((6, 6, 28), (6, 6, 32), (6, 6, 30)),
    "squares whose sides are counted from another one": ((6, 6, 28), (6, 6, 122), (6, 6, 30)),
    "squares on both sides of an axis": ((6, 6, 88), (6, 6, 4), (6, 6, 1)),
}


@pytest.mark.parametrize("name", DISAGREEMENTS)
def test_the_mean_of_rectangles_is_a_rectangle_between_them(name):
    *seen_as, expected = DISAGREEMENTS[name]
    answers = iter(map(one_cell, seen_as))
    maps = augmented_maps(lambda _: next(answers), torch.zeros(1, 3, 32, 32), (PLAIN, PLAIN))
    found = maps["wh"][0, :8].reshape(4, 2).numpy()
    t, r, b, left = found
    np.testing.assert_allclose([t + b, r + left], 0, atol=1e-5)
    assert abs(t @ r) < 1e-4
    own = corners_to_vectors(rectangles_to_corners(np.array([(0, 0, *expected)])))[1]
    distances = [
        np.abs(np.roll(found, turn, axis=0) - own.reshape(4, 2)).max() for turn in range(4)
    ]
    assert min(distances) < 0.03  # the mean of sides that differ by 4 degrees is a little shorter


def test_parallelograms_are_averaged_in_the_order_of_the_first():
    """As the coding of the paper gives them; the second view counts from the right edge."""
    first = torch.tensor([-1.0, -4, 9, -1.5, 1.2, 4.1, -9, 1])
    second = torch.tensor([9.4, -1.1, 1, 4, -9, 1, -1.2, -4.2])
    answers = []
    for vectors in (first, second):
        maps = one_cell((10, 3, 0))
        maps["wh"][0, :8, 0, 0] = vectors
        answers.append(maps)
    network = iter(answers)
    maps = augmented_maps(lambda _: next(network), torch.zeros(1, 3, 32, 32), (PLAIN, PLAIN))
    expected = (first + second.roll(2)) / 2
    np.testing.assert_allclose(maps["wh"][0, :8, 0, 0].numpy(), expected.numpy(), atol=1e-5)


@pytest.mark.parametrize("turn", range(4))
def test_nearest_order(turn):
    vectors = torch.tensor([[-1.0, -4, 9, -1.5, 1, 4, -9, 1.5]])[..., None, None]
    found = nearest_order(vectors.roll(2 * turn, dims=1), vectors + 0.3)
    assert torch.equal(found, vectors)


def test_box_of_a_cell_comes_from_the_views_with_an_object_there():
    sees, misses = one_cell((10, 3, 33)), one_cell((30, 20, 70))
    misses["hm"] *= 0
    answers = iter((misses, sees))
    maps = augmented_maps(lambda _: next(answers), torch.zeros(1, 3, 32, 32), (PLAIN, PLAIN))
    np.testing.assert_allclose(maps["wh"].numpy(), sees["wh"].numpy(), atol=1e-3)
    assert maps["hm"].item() == 0.5


def test_output_is_unchanged_without_views():
    answer = {"anything": torch.zeros(1)}
    assert augmented_maps(lambda _: answer, torch.zeros(1, 3, 32, 32), (PLAIN,)) is answer


def test_cells_without_a_box_stay_finite():
    """Zeros have no direction; the decoder would drop a detection that is not finite."""
    maps = {name: torch.zeros(1, n, 8, 16) for name, n in
            (("hm", 2), ("wh", 10), ("reg", 2), ("cls_theta", 1))}  # fmt: skip

    def network(view):
        return {name: values.new_zeros(1, values.shape[1], *(s // 4 for s in view.shape[2:]))
                for name, values in maps.items()}  # fmt: skip

    found = augmented_maps(network, torch.zeros(1, 3, 32, 64), parse_views("flips,turns,0.5"))
    for name, values in maps.items():
        assert found[name].shape == values.shape and found[name].isfinite().all()


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_a_view_keeps_the_layout_in_memory(memory_format):
    images = torch.rand(2, 3, 64, 96).contiguous(memory_format=memory_format)
    for view in parse_views("flips,turns,0.8"):
        assert see(images, view).is_contiguous(memory_format=memory_format)


def test_a_scaled_view_is_padded_with_black_to_a_multiple_of_32():
    seen = see(torch.ones(1, 3, 64, 96), View(scale=0.75))
    assert seen.shape == (1, 3, 64, 96)
    expected = torch.full((64, 96), -0.5)
    expected[:48, :72] = 1
    np.testing.assert_allclose(seen[0, 0].numpy(), expected.numpy(), atol=1e-6)
