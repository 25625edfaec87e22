"""The sample set: geometry of its labels, content of its scenes, and its folder."""

import hashlib
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from shapely.geometry import Polygon, box

from datasets.sample import folder, layouts, raster, sprites
from datasets.sample.scene import Scene
from DOTA_devkit.errors import InputError

HEADINGS = [0.0, 0.3, math.pi / 2, 2.5, -1.0]  # radians


def rng(seed: int = 0) -> np.random.RandomState:
    return np.random.RandomState(seed)


# --- Geometry, against Shapely or by hand


@pytest.mark.parametrize(
    ("polygon", "expected_area"),
    [
        ([[20, 20], [30, 20], [30, 30], [20, 30]], 100),  # inside
        ([[-10, -10], [110, -10], [110, 110], [-10, 110]], 10_000),  # around the image
        ([[-5, 20], [5, 20], [5, 30], [-5, 30]], 50),  # half, left
        ([[95, 90], [105, 90], [105, 110], [95, 110]], 50),  # right and bottom
        ([[-10, 0], [0, -10], [10, 0], [0, 10]], 50),  # a diamond on the corner
        ([[-20, 20], [-10, 20], [-10, 30], [-20, 30]], 0),  # outside
        ([[-10, 20], [0, 20], [0, 30], [-10, 30]], 0),  # touching from outside
        (
            [[-8, 3], [3, -8], [2, -9], [-9, 2]],
            0,
        ),  # outside, but not its bounding box
    ],
)
def test_clip_to_image(polygon, expected_area):
    clipped = raster.clip_to_image(np.array(polygon, float), 100)
    area = raster.polygon_area(clipped) if len(clipped) else 0
    assert area == pytest.approx(expected_area)
    assert area == pytest.approx(Polygon(polygon).intersection(box(0, 0, 100, 100)).area)


@pytest.mark.parametrize("heading", HEADINGS)
def test_fitted_rectangle_of_a_rectangle(heading):
    corners = raster.box_corners((40, 60), 30, 12, heading)
    fitted = raster.fitted_rectangle(corners)
    assert Polygon(fitted).symmetric_difference(Polygon(corners)).area == pytest.approx(0, abs=1e-6)


def test_fitted_rectangle_has_minimum_area():
    outline = raster.clip_to_image(raster.box_corners((3, 5), 40, 18, 0.7), 100)
    angles = np.linspace(0, np.pi / 2, 20_001)
    along = outline @ np.stack([np.cos(angles), np.sin(angles)])
    across = outline @ np.stack([-np.sin(angles), np.cos(angles)])
    smallest = (np.ptp(along, axis=0) * np.ptp(across, axis=0)).min()
    fitted = raster.fitted_rectangle(outline)
    assert raster.polygon_area(fitted) == pytest.approx(smallest, rel=1e-4)
    assert Polygon(fitted).buffer(1e-6).contains(Polygon(outline))


@pytest.mark.parametrize(
    ("other", "gap", "expected"),
    [
        (None, 5.0, False),  # nothing is there yet
        ((0, 0, 20, 10, 0.0), 0.0, True),  # the same position
        ((21, 0, 20, 10, 0.0), 0.5, False),  # one pixel apart
        ((21, 0, 20, 10, 0.0), 1.5, True),  # too close here
        ((0, 11, 20, 10, 0.0), 2.0, True),
        ((0, 0, 4, 60, 0.8), 0.0, True),  # a cross: no corner of one inside the other
        ((17, 14, 20, 10, math.pi / 4), 0.0, False),  # although their bounding rectangles overlap
    ],
)
def test_overlap_any(other, gap, expected):
    here = raster.box_corners((0, 0), 20, 10, 0.0)
    others = [] if other is None else [raster.box_corners(other[:2], *other[2:])]
    assert raster.overlap_any(here, others, gap) is expected


@pytest.mark.parametrize("heading", HEADINGS)
@pytest.mark.parametrize("order", [1, -1])  # clockwise and counterclockwise
def test_coverage_sums_to_the_area(heading, order):
    corners = raster.box_corners((30.3, 25.7), 22.5, 9.25, heading)[::order]
    window, alpha = raster.coverage(corners, 64)
    assert alpha.sum() == pytest.approx(22.5 * 9.25, rel=0.01)
    ys, xs = np.mgrid[window]
    center = [(alpha * (xs + 0.5)).sum(), (alpha * (ys + 0.5)).sum()] / alpha.sum()
    assert center == pytest.approx([30.3, 25.7], abs=0.02)


@pytest.mark.parametrize("center", [(-20, 30), (30, 90), (84.6, 30)])
def test_coverage_outside_of_the_image(center):
    assert raster.coverage(raster.box_corners(center, 20, 20, 0.0), 64) is None


# --- Sprites and labels

MAKERS = [
    (sprites.boat, 25.0), (sprites.boat, 37.0),
    (sprites.freighter, 46.0), (sprites.freighter, 88.0),
    (sprites.plane, 26.0), (sprites.plane, 61.0), (sprites.car, 16.0), (sprites.car, 24.0),
    (sprites.truck, 30.0), (sprites.truck, 46.0), (sprites.pier, 52.0), (sprites.pier, 90.0),
]  # fmt: skip


@pytest.mark.parametrize(("make", "length"), MAKERS)
@pytest.mark.parametrize("seed", range(6))  # jets and light aircraft, boxes and hatches
def test_sprite_box_fits_the_drawing(make, length, seed):
    sprite = make(rng(seed), length)
    outline = np.concatenate([polygon for polygon, _ in sprite.body])
    half = np.array([sprite.length, sprite.width]) / 2
    np.testing.assert_allclose(outline.max(axis=0), half)
    np.testing.assert_allclose(outline.min(axis=0), -half)
    assert sprite.length == length
    for polygon, _ in sprite.body + sprite.details:
        shape = Polygon(polygon)
        assert shape.is_valid and shape.convex_hull.area == pytest.approx(shape.area)
        assert (np.abs(polygon) <= half + 1e-9).all(), "details stay on the body"


@pytest.mark.parametrize("make", [sprites.freighter, sprites.plane, sprites.truck, sprites.pier])
@pytest.mark.parametrize("heading", HEADINGS)
def test_label_fits_the_pixels(make, heading):
    """Compare the label with the pixels at least half covered by the sprite."""
    scene = Scene(rng(1), 128, zoom=1)
    sprite = make(rng(3), 60.0)
    assert scene.put(sprite, (63.3, 65.8), heading)
    ((corners, _, _),) = scene.labels
    for polygon, _ in sprite.body:
        scene.paint(raster.place(polygon, (63.3, 65.8), heading), (255, 255, 255))
    ys, xs = np.nonzero(scene.image[..., 0] > 127)
    pixels = np.stack([xs, ys], axis=1) + 0.5
    for side in (corners[0] - corners[3], corners[1] - corners[0]):
        axis = side / np.linalg.norm(side)
        for extreme in (np.min, np.max):
            assert extreme(pixels @ axis) == pytest.approx(extreme(corners @ axis), abs=1.5)


@pytest.mark.parametrize(
    ("center_x", "expected"),
    [
        (50.0, (40, 60, 0)),  # inside: left, right, difficulty
        (10.0, (0, 20, 0)),  # touching the border
        (4.0, (0, 14, 0)),  # 70 % visible
        (2.0, (0, 12, 0)),  # 60 %: the minimum
        (1.0, (0, 11, 2)),  # 55 %
        (-5.0, (0, 5, 2)),  # 25 %
        (-7.0, None),  # 15 %: not drawn
        (-30.0, None),
        (93.0, (83, 100, 0)),  # 85 %, right
    ],
)
def test_truncated_objects_are_labeled_by_the_visible_part(center_x, expected):
    scene = Scene(rng(), 100, zoom=1)
    drawn = scene.put(sprites.car(rng(), 20.0), (center_x, 50.0), heading=0.0)
    assert drawn == (expected is not None) == bool(scene.items)
    for corners, name, difficulty in scene.labels:
        assert (name, difficulty) == ("vehicle", expected[2])
        assert corners[:, 0].min() == pytest.approx(expected[0])
        assert corners[:, 0].max() == pytest.approx(expected[1])
    assert len(scene.labels) == drawn


def test_clutter_has_no_label_but_occupies_space():
    scene = Scene(rng(), 100, zoom=1)
    assert scene.put(sprites.container(rng()), (50, 50), 0.2)
    assert not scene.put(sprites.car(rng(), 20.0), (52, 50), 0.2)
    assert scene.labels == []


@pytest.mark.parametrize("layout", [layout for layout, _ in layouts.LAYOUTS])
def test_scenes_without_objects(layout):
    scene = Scene(rng(5), objects=False)
    layout(scene)
    image = scene.render()
    assert scene.labels == []
    assert image.shape == (192, 192, 3) and image.dtype == np.uint8
    assert image.std() > 5


@pytest.mark.slow
def test_scenes_have_varied_objects():
    drawn = [layouts.draw_scene(s) for s in np.random.SeedSequence(11).spawn(60)]
    labels = [label for _, found in drawn for label in found]
    names = [name for _, name, _ in labels]
    assert set(names) == set(folder.CLASSES)
    assert min(names.count(name) for name in folder.CLASSES) >= 12
    assert sum(not found for _, found in drawn) >= 1, "images without objects"
    assert 6 <= len(labels) / len(drawn) <= 12
    assert max(len(found) for _, found in drawn) >= 18, "dense rows"
    difficult = sum(difficulty > 0 for *_, difficulty in labels)
    assert 0 < difficult < 0.15 * len(labels), "objects cut by the border"
    corners = np.stack([corners for corners, *_ in labels])
    sides = np.linalg.norm(corners - np.roll(corners, -1, axis=1), axis=2)[:, :2]
    whole = np.array([difficulty == 0 for *_, difficulty in labels])
    longer, shorter = sides.max(axis=1)[whole], sides.min(axis=1)[whole]
    assert longer.min() > 12 and longer.max() < 120
    assert np.ptp(longer) > 60 and (longer / shorter).max() > 5, "sizes and aspect ratios"
    turns = np.arctan2(*(corners[:, 1] - corners[:, 0]).T) % (np.pi / 2)
    assert np.histogram(turns, 6, (0, np.pi / 2))[0].min() > 0.03 * len(labels), "all directions"


def test_objects_do_not_overlap():
    for scene_seed in np.random.SeedSequence(3).spawn(8):
        shapes = [Polygon(corners) for corners, _, difficulty in layouts.draw_scene(scene_seed)[1]]
        for i, shape in enumerate(shapes):
            for other in shapes[:i]:
                assert shape.intersection(other).area < 0.05 * min(shape.area, other.area)


def test_version_matches_the_scenes():
    """Existing sets are only created again if VERSION changes: new scenes need a new line here."""
    known = {6: "eedf9c25f866"}
    lines = [
        folder._label_line(*label)
        for scene_seed in np.random.SeedSequence(0).spawn(6)
        for label in layouts.draw_scene(scene_seed)[1]
    ]
    assert hashlib.sha1("\n".join(lines).encode()).hexdigest()[:12] == known[folder.VERSION]


# --- The folder


@pytest.fixture
def small(monkeypatch):
    """A set of a few images, to make the tests of the folder fast."""
    monkeypatch.setattr(folder, "SPLITS", {"train": 4, "val": 2, "test": 3})


def contents(root: Path) -> dict[str, bytes]:
    files = (path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(files)}


def test_fewer_scenes_are_the_first_of_the_set(small, tmp_path):
    whole = contents(folder.make_sample(tmp_path / "set"))
    folder.write_scenes(tmp_path / "few", {"train": 1, "val": 0})
    few = contents(tmp_path / "few")
    assert few.pop("train.txt") == b"train_000\n" and few.pop("val.txt") == b""
    assert len(few) == 3 and few.items() <= whole.items()


def test_folder_layout(small, tmp_path):
    root = folder.make_sample(tmp_path / "deep" / "set")
    assert root == tmp_path / "deep" / "set"
    assert (root / "classes.txt").read_text().split() == list(folder.CLASSES)
    ids = {name: (root / f"{name}.txt").read_text().split() for name in folder.SPLITS}
    assert {name: len(found) for name, found in ids.items()} == {"train": 4, "val": 2, "test": 3}
    every = [image_id for found in ids.values() for image_id in found]
    assert len(set(every)) == 9, "no image in two lists"
    assert {path.stem for path in (root / "images").iterdir()} == set(every)
    assert {path.stem for path in (root / "labelTxt").iterdir()} == set(every)
    pictures = [cv2.imread(str(root / "images" / f"{i}.png"), cv2.IMREAD_UNCHANGED) for i in every]
    assert {picture.shape for picture in pictures} == {(192, 192, 3)}
    assert len({picture.tobytes() for picture in pictures}) == 9, "all scenes differ"
    for image_id in every:
        lines = (root / "labelTxt" / f"{image_id}.txt").read_text().splitlines()
        assert [line.split(":")[0] for line in lines[:2]] == ["imagesource", "gsd"]
        for line in lines[2:]:
            fields = line.split(" ")
            assert len(fields) == 10 and fields[8] in folder.CLASSES and fields[9] in "02"
            numbers = [float(value) for value in fields[:8]]
            assert min(numbers) > -60 and max(numbers) < 316, "truncated, but near the image"
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["set"], "no other files"


@pytest.mark.slow
def test_same_seed_gives_the_same_bytes(small, tmp_path):
    here = folder.make_sample(tmp_path / "a", seed=3)
    code = (
        "import sys, pathlib; from datasets.sample import folder; "
        "folder.SPLITS = {'train': 4, 'val': 2, 'test': 3}; "
        "folder.make_sample(pathlib.Path(sys.argv[1]), seed=3)"
    )
    repo = Path(folder.__file__).parents[2]
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "b")], cwd=repo, check=True)
    assert contents(here) == contents(tmp_path / "b")
    other = contents(folder.make_sample(tmp_path / "c", seed=4))
    assert other["images/train_000.png"] != contents(here)["images/train_000.png"]


def test_finished_set_is_reused(small, tmp_path, monkeypatch):
    root = folder.make_sample(tmp_path / "set")
    before = contents(root)
    monkeypatch.setattr(folder, "draw_scene", None)  # would raise if it were called
    folder.make_sample(root)
    assert contents(root) == before


@pytest.mark.parametrize("spoil", ["version", "seed", "image", "list"])
@pytest.mark.slow
def test_outdated_or_incomplete_set_is_recreated(small, tmp_path, monkeypatch, spoil):
    root = folder.make_sample(tmp_path / "set", seed=1 if spoil == "seed" else 0)
    if spoil == "version":
        stamp = json.loads((root / folder.STAMP).read_text())
        (root / folder.STAMP).write_text(json.dumps(stamp | {"version": 0}))
    elif spoil == "image":
        (root / "images" / "val_001.png").unlink()
    elif spoil == "list":
        (root / "val.txt").unlink()
    folder.make_sample(root)
    assert contents(root) == contents(folder.make_sample(tmp_path / "fresh"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fresh", "set"]


@pytest.mark.parametrize("stamp", [None, "not json", "[]", '{"made_by": "somebody"}'])
def test_other_folder_is_refused_and_kept(small, tmp_path, stamp):
    root = tmp_path / "set"
    root.mkdir()
    (root / "mine.txt").write_text("years of work")
    if stamp is not None:
        (root / folder.STAMP).write_text(stamp)
    before = contents(root)
    with pytest.raises(InputError, match="is not a sample set"):
        folder.make_sample(root)
    assert contents(root) == before


def test_file_instead_of_a_folder_is_refused(small, tmp_path):
    (tmp_path / "set").write_text("a file")
    with pytest.raises(InputError, match="is not a sample set"):
        folder.make_sample(tmp_path / "set")
    assert (tmp_path / "set").read_text() == "a file"


def test_empty_folder_is_used(small, tmp_path):
    (tmp_path / "set").mkdir()
    assert (folder.make_sample(tmp_path / "set") / "train.txt").is_file()


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_interrupted_run_leaves_nothing(small, tmp_path, monkeypatch, error):
    draw, drawn = layouts.draw_scene, []

    def stop_at_the_third(sequence):
        drawn.append(sequence)
        if len(drawn) == 3:
            raise error
        return draw(sequence)

    monkeypatch.setattr(folder, "draw_scene", stop_at_the_third)
    with pytest.raises(error):
        folder.make_sample(tmp_path / "set")
    assert list(tmp_path.iterdir()) == []


def test_leftovers_of_killed_runs_are_deleted(small, tmp_path):
    old, young = tmp_path / "set.partial-old", tmp_path / "set.partial-young"
    for left in (old, young):
        (left / "set" / "images").mkdir(parents=True)
    hour_ago = time.time() - 3600
    for path in (old / "set" / "images", old):
        os.utime(path, (hour_ago, hour_ago))
    folder.make_sample(tmp_path / "set")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set", young.name], (
        "the newer one may belong to an active run"
    )


def test_concurrent_process_is_not_an_error(small, tmp_path, monkeypatch):
    root, write = tmp_path / "set", folder._write_set

    def beaten(work, seed):
        monkeypatch.setattr(folder, "_write_set", write)
        folder.make_sample(root)
        write(work, seed)

    monkeypatch.setattr(folder, "_write_set", beaten)
    assert folder.make_sample(root) == root
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_no_output_without_a_terminal(small, tmp_path, capfd):
    folder.make_sample(tmp_path / "set")
    assert capfd.readouterr() == ("", "")
