"""HRSC2016 XML, read at any of the three levels of its class tree."""

from __future__ import annotations

from pathlib import Path

from DOTA_devkit.converters.annotation import (
    Annotation,
    ObjectRecord,
    build_annotation,
    size_from,
)
from DOTA_devkit.converters.rectangles import rotated_corners
from DOTA_devkit.errors import InputError
from DOTA_devkit.file_kinds import xml_hint
from DOTA_devkit.number_ranges import ANGLE, DIFFICULTY, NumberRange
from DOTA_devkit.xml_tree import XmlElement, read_xml

SHIP = "ship"
LEVELS = (1, 2, 3)
CLASS_ID = NumberRange(0, 1e9, whole=True)

# The class tree in sysdata.xml of the dataset: Class_ID - 100000000 -> (name, class of level 2).
# Spaces become dashes, as in the names of DOTA. The four types whose names are ASCII drawings there
# ("OXo|--)", "Car carrier([]==[])") have the names commonly used for them, fit for file names.
HRSC_CLASSES: dict[int, tuple[str, str]] = {
    1: (SHIP, SHIP),  # a ship of unknown category
    2: ("aircraft-carrier", "aircraft-carrier"),
    3: ("warcraft", "warcraft"),
    4: ("merchant-ship", "merchant-ship"),
    5: ("Nimitz", "aircraft-carrier"),
    6: ("Enterprise", "aircraft-carrier"),
    7: ("Arleigh-Burke", "warcraft"),
    8: ("WhidbeyIsland", "warcraft"),
    9: ("Perry", "warcraft"),
    10: ("Sanantonio", "warcraft"),
    11: ("Ticonderoga", "warcraft"),
    12: ("Kitty-Hawk", "aircraft-carrier"),
    13: ("Kuznetsov", "aircraft-carrier"),
    14: ("Abukuma", "warcraft"),
    15: ("Austen", "warcraft"),
    16: ("Tarawa", "aircraft-carrier"),
    17: ("Blue-Ridge", "warcraft"),
    18: ("Container", "merchant-ship"),
    19: ("Commander-A", "warcraft"),  # OXo|--)
    20: ("Car-carrier-A", "merchant-ship"),  # Car carrier([]==[])
    22: ("Hovercraft", "merchant-ship"),
    24: ("yacht", "merchant-ship"),
    25: ("Container-A", "merchant-ship"),  # Container ship(_|.--.--|_]=
    26: ("Cruise", "merchant-ship"),
    27: ("submarine", "submarine"),
    28: ("lute", "warcraft"),
    29: ("Medical", "warcraft"),
    30: ("Car-carrier-B", "merchant-ship"),  # Car carrier(======|
    31: ("Ford-class", "aircraft-carrier"),
    32: ("Midway-class", "aircraft-carrier"),
    33: ("Invincible-class", "aircraft-carrier"),
}
_ID_OFFSET = 100000000


def hrsc_classes(level: int) -> tuple[str, ...]:
    """Return the class names of a level, in the order of their ids.

    Levels 2 and 3 include "ship" for objects whose category the dataset does not give; level 3
    also includes the names of level 2 for objects whose type it does not give.

    Args:
        level: 1 (ship), 2 (category) or 3 (type).

    Raises:
        InputError: there is no such level.
    """
    _check_level(level)
    if level == 1:
        return (SHIP,)
    return tuple(dict.fromkeys(entry[0 if level == 3 else 1] for entry in HRSC_CLASSES.values()))


def read_hrsc(path: Path | str, level: int = 1) -> Annotation:
    """Read one HRSC2016 file.

    Args:
        path: the XML file; its stem is the image id.
        level: level of the class names, see `hrsc_classes`.

    Returns:
        The labels, with the size of the image if the file has it.

    Raises:
        InputError: a tag is missing, a value is not a finite number or, above level 1, a Class_ID
            is not in the class tree; the message has file and line. Also for an unknown level.
        OSError: the file cannot be read.
    """
    _check_level(level)
    root = read_xml(path)
    if root.tag != "HRSC_Image":
        raise InputError(
            f"{root.where}: expected <HRSC_Image>, got <{root.tag}>"
            + (
                "; the format 'rolabelimg' reads it (python -m DOTA_devkit convert)"
                if root.tag == "annotation"
                else xml_hint(root.tag)
            )
        )
    width, height = root.number("Img_SizeWidth", 0), root.number("Img_SizeHeight", 0)
    records = [
        ObjectRecord(
            name=_class_name(element, level),
            corners=rotated_corners(
                element.number("mbox_cx"),
                element.number("mbox_cy"),
                element.number("mbox_w"),
                element.number("mbox_h"),
                element.number("mbox_ang", allowed=ANGLE),
            ),
            difficult=int(element.number("difficult", 0, DIFFICULTY)),
            line=element.line,
        )
        for element in root.iter("HRSC_Object")
    ]
    return build_annotation(Path(path), records, size_from(width, height))


def _class_name(element: XmlElement, level: int) -> str:
    if level == 1:
        return SHIP
    class_id = element.number("Class_ID", allowed=CLASS_ID)
    entry = HRSC_CLASSES.get(int(class_id) - _ID_OFFSET)
    if entry is None:
        raise InputError(
            f"{element.required('Class_ID').where}: Class_ID {class_id:.0f} is not in the class "
            "tree of HRSC2016 "
            f"({_ID_OFFSET + min(HRSC_CLASSES)} to {_ID_OFFSET + max(HRSC_CLASSES)}); "
            "level 1 reads every object as a ship"
        )
    return entry[0 if level == 3 else 1]


def _check_level(level: int) -> None:
    if level not in LEVELS:
        raise InputError(f"HRSC level {level}: expected one of {', '.join(map(str, LEVELS))}")
