"""Text formats: what their lines may have in them, besides the samples of every format."""

import numpy as np
import pytest

from DOTA_devkit.converters.annotation import build_annotation
from DOTA_devkit.converters.labelimg_obb import read_labelimg_obb, write_labelimg_obb
from DOTA_devkit.converters.ucas_aod import read_ucas_aod
from DOTA_devkit.converters.yolo import read_yolo
from DOTA_devkit.converters.yolo_xywhr import read_yolo_xywhr, write_yolo_xywhr
from DOTA_devkit.errors import InputError
from helpers.label_files import FLAT, SQUARE, one, put
from helpers.label_samples import SHIP


def test_xywhr_in_degrees(tmp_path):
    path = put(tmp_path, "a1.txt", "\n0 .5 .5 .4 .13333333 30\n")
    found = read_yolo_xywhr(path, (400, 300), ("ship",), "degrees")
    np.testing.assert_allclose(found.labels.corners, [SHIP], atol=0.001)
    assert found.labels.lines.tolist() == [2]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 .5 .5 .4 .1", ":1: 5 fields, expected 6: class cx cy w h angle"),
        ("0 .1 .1 .3 .1 .3 .3 .1 .3", r":1: 9 fields, expected 6.*\(the format 'yolo' reads"),
        ("1 .5 .5 .4 .1 0", r":1: class 1, expected 0 to 0 \(ship\)"),
        ("0 .5 .5 .4 x 0", ":1: expected six numbers"),
        ("0 200 150 160 40 0", ":1: expected center and sides normalized"),
        ("0 .5 .5 -.4 .1 0", ":1: expected center and sides normalized"),
        ("0 .5 .5 .4 .1 30", ":1: .* 6.2832 radians, got 30; if these are degrees, give"),
        ("0 .5 .5 .4 .1 nan", ":1: expected as angle"),
    ],
)
def test_xywhr_errors(tmp_path, line, message):
    with pytest.raises(InputError, match=r"a1\.txt" + message):
        read_yolo_xywhr(put(tmp_path, "a1.txt", line), (400, 300), ("ship",))


def test_yolo_names_the_format_that_reads_a_line(tmp_path):
    for text, name in [
        ("YOLO_OBB\n0 1 2 3 4 5\n", "labelimg-obb"),
        ("0 .1 .1 .1 .1 0", "yolo-xywhr"),
    ]:
        with pytest.raises(InputError, match=rf"a\.txt:1: .* fields, .*the format '{name}' reads"):
            read_yolo(put(tmp_path, "a.txt", text), (400, 300), ("ship",))


def test_yolo_segmentation(tmp_path):
    path = put(tmp_path, "a.txt", "0 .1 .1 .3 .1 .3 .3 .1 .3 .1 .2\n0 .1 .1 .3 .1 .3 .3\n")
    found = read_yolo(path, (100, 200), ("ship",))
    assert found.fitted.tolist() == [1, 2]
    for corners in found.labels.corners:
        assert [*corners.min(axis=0), *corners.max(axis=0)] == pytest.approx([10, 20, 30, 60])


def test_labelimg_obb_as_the_tool_writes_it(tmp_path):
    """Corners by `updatePointsFromOBBInfo` of the tool: height along an angle with y up."""
    path = put(tmp_path, "a.txt", "YOLO_OBB\n0 50 40 20 60 90.0\n0 50 40 20 60 0\n")
    upright, lying = read_labelimg_obb(path, ("ship",)).labels.corners
    assert np.ptp(upright, axis=0).tolist() == pytest.approx([20, 60])
    assert np.ptp(lying, axis=0).tolist() == pytest.approx([60, 20])
    found = build_annotation(tmp_path / "b.txt", [one(SHIP), one(SQUARE)])
    write_labelimg_obb(tmp_path / "b.txt", found, ("ship",))
    header, *lines = (tmp_path / "b.txt").read_text().splitlines()
    assert header == "YOLO_OBB"
    first, second = np.array([line.split() for line in lines], float)
    np.testing.assert_allclose(first, [0, 200, 150, 40, 160, -30], atol=0.001)
    np.testing.assert_allclose(second, [0, 20, 40, 20, 40, -90])
    put(tmp_path, "c.txt", "\n")
    assert len(read_labelimg_obb(tmp_path / "c.txt", ("ship",)).labels) == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 1 2 3 4 5\n", ":1: expected the line 'YOLO_OBB'"),
        ("YOLO_OBB\n0 1 2 3 4\n", ":2: 5 fields, expected 6"),
        ("YOLO_OBB\n0 1 2 -3 4 5\n", ":2: expected center and sides in pixels"),
        ("YOLO_OBB\n0 1 2 3 4 500\n", ":2: expected as angle"),
        ("YOLO_OBB\n7 1 2 3 4 5\n", ":2: class 7, expected 0 to 0"),
    ],
)
def test_labelimg_obb_errors(tmp_path, text, message):
    with pytest.raises(InputError, match=r"a\.txt" + message):
        read_labelimg_obb(put(tmp_path, "a.txt", text), ("ship",))


def test_writers_of_rectangles_count_others(tmp_path):
    found = build_annotation(
        tmp_path / "a.txt", [one(SQUARE), one([[0, 0], [9, 1], [8, 9], [1, 7]])], (100, 100)
    )
    assert write_yolo_xywhr(tmp_path / "a.txt", found, ("ship",)) == 1
    assert write_labelimg_obb(tmp_path / "b.txt", found, ("ship",)) == 1


def test_ucas_aod_in_its_folders(tmp_path):
    values = "\t".join(f"{v:.6e}" for v in [*FLAT, 90, 10, 20, 20, 40])
    (tmp_path / "CAR").mkdir()
    found = read_ucas_aod(put(tmp_path, "CAR/P0001.txt", f"{values}\t\n\n"))
    assert found.labels.names == ("car",)
    np.testing.assert_array_equal(found.labels.corners, [SQUARE])
    for text, message in [
        (values, r"expected the class as the name of the folder \(CAR or PLANE\)"),
        (values[:20], "fields, expected 13"),
        ("car " + values.replace("e+01", "e+99"), "a coordinate is '1.0000"),
    ]:
        with pytest.raises(InputError, match=rf"P1\.txt:1: .*{message}"):
            read_ucas_aod(put(tmp_path, "P1.txt", text))
