"""XML formats: what files of single tools may have in them, besides the samples."""

import numpy as np
import pytest

from DOTA_devkit.converters.annotation import build_annotation
from DOTA_devkit.converters.cvat import read_cvat, write_cvat
from DOTA_devkit.converters.datasets import Target
from DOTA_devkit.converters.dior import read_dior
from DOTA_devkit.converters.fair1m import read_fair1m
from DOTA_devkit.converters.rolabelimg import read_rolabelimg
from DOTA_devkit.converters.ssdd import read_ssdd
from DOTA_devkit.errors import InputError
from helpers.label_files import SQUARE, one, put
from helpers.label_samples import FILES, SHIP

# --- roLabelImg ---


def test_rolabelimg_in_degrees(tmp_path):
    text = FILES["rolabelimg"]["a1.xml"]
    path = put(tmp_path, "a1.xml", text.replace("0.523599", "30.0"))
    np.testing.assert_allclose(read_rolabelimg(path, "degrees").labels.corners, [SHIP], atol=0.001)
    with pytest.raises(InputError, match=r"a1\.xml:1: .* degrees, give `angle_unit` degrees"):
        read_rolabelimg(path)
    path = put(tmp_path, "a1.xml", text.replace("0.523599", "400"))
    with pytest.raises(InputError, match="from -360 to 360 degrees"):
        read_rolabelimg(path, "degrees")


# --- XML of data sets ---


@pytest.mark.parametrize(
    ("read", "name", "old", "new", "message"),
    [
        (read_dior, "dior", "<x_left_top>140.718", "<x>1", "<robndbox> has no <x_left_top>"),
        (read_dior, "dior", "annotation>", "annotations>", "expected <annotation> .*DIOR-R"),
        (read_ssdd, "ssdd", "rotated_bndbox>", "r>", "<object> has no <rotated_bndbox>"),
        (read_ssdd, "ssdd", "annotation>", "annotations>", "expected <annotation> .*SSDD"),
        (read_fair1m, "fair1m", ">pixel<", ">geo<", "expected coordinates in 'pixel', got 'geo'"),
        (read_fair1m, "fair1m", "140.718000,92", "140.718000 92", "expected <point> as x,y"),
        (read_fair1m, "fair1m", "140.718000,92", "x,92", "a coordinate is 'x', not a number"),
        (read_fair1m, "fair1m", "objects>", "o>", "expected <objects>"),
    ],
)
def test_data_set_errors(tmp_path, read, name, old, new, message):
    text = FILES[name]["a1.xml"]
    assert old in text
    text = text.replace(old, new)
    if "<x>1" in text:
        text = text.replace("<x>1</x_left_top>", "<x>1</x>")
    if "<o>" in text:
        text = text.replace("<o>", "").replace("</o>", "")
    with pytest.raises(InputError, match=rf"a1\.xml:[12]: .*{message}"):
        read(put(tmp_path, "a1.xml", text))


def test_fair1m_names_and_outlines(tmp_path):
    text = FILES["fair1m"]["a1.xml"].replace(">ship<", ">Dry Cargo Ship<")
    found = read_fair1m(
        put(tmp_path, "a1.xml", text.replace("</points>", "<point>1,1</point></points>"))
    )
    assert found.labels.names == ("Dry-Cargo-Ship",)
    assert found.fitted.tolist() == found.labels.lines.tolist() == [2]


# --- CVAT ---

CVAT = """<annotations><version>1.1</version>
<image id="0" name="a.png" width="100" height="80">
{}
</image>
<image id="1" name="b.png" width="30" height="40"><tag label="x" source="manual"></tag></image>
</annotations>"""
BOX = '<box label="ship" {} xtl="10" ytl="20" xbr="30" ybr="60">{}</box>'


def cvat(tmp_path, *shapes):
    return read_cvat(put(tmp_path, "annotations.xml", CVAT.format("\n".join(shapes))))


def test_cvat_shapes(tmp_path):
    first, second = cvat(
        tmp_path,
        BOX.format('occluded="1"', '<attribute name="difficult">true</attribute>'),
        BOX.format('rotation="90"', '<attribute name="kind">a&amp;b</attribute>'),
        '<polygon label="ship" points="10,20;30,20;30,60;10,60"></polygon>',
        '<polygon label="ship" points="10,20;30,20;30,60;10,60;10,40"></polygon>',
        # rows of 3 pixels: the last two of the first row and the first of the second
        '<mask label="ship" rle="1, 3, 2" left="10" top="20" width="3" height="2"></mask>',
        '<points label="ship" points="1,2"></points>',
    )
    assert first.size_wh == (100, 80) and second.image_id == "b" and len(second.labels) == 0
    corners = first.labels.corners
    np.testing.assert_array_equal(corners[0], SQUARE)
    np.testing.assert_allclose(corners[1], [[40, 30], [40, 50], [0, 50], [0, 30]], atol=1e-9)
    np.testing.assert_array_equal(corners[2], SQUARE)
    assert first.fitted.tolist() == [6, 7] and first.labels.lines.tolist() == [3, 4, 5, 6, 7]
    # around the pixels (11..12, 20) and (10, 21): x 10 to 13, y 20 to 22
    assert corners[4].min(axis=0).tolist() <= [10, 20] and corners[4].max() <= 25
    assert first.labels.difficult.tolist() == [1, 0, 0, 0, 0]
    assert first.attributes[:2] == ({"occluded": True}, {"kind": "a&b"})
    assert len(first.left_out) == 1 and ":8 (<points>)" in first.left_out[0]


def test_cvat_keeps_attributes(tmp_path):
    found = build_annotation(
        tmp_path / "a.xml",
        [one(SQUARE, 'a"<&', difficult=1, attributes={"occluded": True, "n": 3, "k": "<x>"})],
        (100, 80),
    )
    write_cvat(tmp_path / "x.xml", [found], Target(tmp_path / "x.xml", "cvat"))
    (again,) = read_cvat(tmp_path / "x.xml")
    assert again.labels.names == ('a"<&',) and again.labels.difficult.tolist() == [1]
    assert again.attributes == ({"occluded": True, "n": "3", "k": "<x>"},)
    assert again.file_name == "a.png"


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (BOX.format("", "").replace("label", "name"), ":3: <box> has no attribute 'label'"),
        (BOX.format("", "").replace('"10"', '"x"'), ":3: 'xtl' of <box> is 'x', not a number"),
        (BOX.format('rotation="400"', ""), ":3: 'rotation' of <box> is '400', expected"),
        ('<polygon label="a" points="1,2;3,4"></polygon>', ":3: expected 'points' as x,y;x,y"),
        (
            '<polygon label="a" points="1,2;9,2;9;30;1,9"></polygon>',
            ":3: expected 'points' as x,y;",
        ),
        ('<polygon label="a" points="1,2;3,4;5,z"></polygon>', "a coordinate in 'points' is 'z'"),
        (
            '<mask label="a" rle="1,3" left="1" top="2" width="3" height="2"></mask>',
            ":3: expected runs in 'rle' that make 3 x 2 pixels, got 4",
        ),
        (
            '<mask label="a" rle="6" left="1" top="2" width="3" height="2"></mask>',
            ":3: expected a mask with pixels, got an empty one",
        ),
        ('</image><track id="0"></track><image name="c.png">', "got 'CVAT for video'"),
    ],
)
def test_cvat_errors(tmp_path, shape, message):
    with pytest.raises(InputError, match=r"annotations\.xml.*" + message):
        cvat(tmp_path, shape)
