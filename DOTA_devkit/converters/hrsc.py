"""HRSC2016 XML -> labels, at any of the three levels of its class tree."""

from __future__ import annotations

from pathlib import Path

from DOTA_devkit.converters.annotation import (
    Annotation,
    ObjectRecord,
    build_annotation,
    rotated_corners,
)
from DOTA_devkit.errors import InputError
from DOTA_devkit.xml_tree import XmlElement, read_xml

SHIP = "ship"
LEVELS = (1, 2, 3)

# The class tree of the data set's sysdata.xml: Class_ID - 100000000 -> (name, class of level 2).
# Blanks become dashes, as in DOTA's names, and the four types that are drawings in ASCII there
# ("OXo|--)", "Car carrier([]==[])") carry the names in use for them, fit for file names.
HRSC_CLASSES: dict[int, tuple[str, str]] = {
    1: (SHIP, SHIP),  # known as a ship and no further
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
    """Class names of a level (1: ship, 2: category, 3: type), in the order of their ids.

    Levels 2 and 3 keep "ship" for objects that the data set knows no closer; level 3 also keeps
    the names of level 2 for the same reason.
    """
    _check_level(level)
    if level == 1:
        return (SHIP,)
    return tuple(dict.fromkeys(entry[0 if level == 3 else 1] for entry in HRSC_CLASSES.values()))


def read_hrsc(path: Path | str, level: int = 1) -> Annotation:
    """The labels of one HRSC2016 file, classes named as `hrsc_classes(level)`.

    Raises InputError with file and line for a missing tag, a value that is no finite number and,
    above level 1, a Class_ID that is not in the data set's tree.
    """
    _check_level(level)
    root = read_xml(path)
    if root.tag != "HRSC_Image":
        raise InputError(
            f"{root.where}: expected <HRSC_Image>, came <{root.tag}>"
            + ("; `convert rolabelimg` reads it" if root.tag == "annotation" else "")
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
                element.number("mbox_ang"),
            ),
            difficult=int(element.number("difficult", 0)),
            line=element.line,
        )
        for element in root.iter("HRSC_Object")
    ]
    size_wh = (round(width), round(height)) if width > 0 and height > 0 else None
    return build_annotation(Path(path), records, size_wh)


def _class_name(element: XmlElement, level: int) -> str:
    if level == 1:
        return SHIP
    class_id = element.number("Class_ID")
    entry = HRSC_CLASSES.get(int(class_id) - _ID_OFFSET)
    if entry is None:
        raise InputError(
            f"{element.required('Class_ID').where}: Class_ID {class_id:.0f} is not in the tree of "
            f"HRSC2016 ({_ID_OFFSET + min(HRSC_CLASSES)} to {_ID_OFFSET + max(HRSC_CLASSES)}); "
            "level 1 reads every object as a ship"
        )
    return entry[0 if level == 3 else 1]


def _check_level(level: int) -> None:
    if level not in LEVELS:
        raise InputError(f"HRSC level {level}: allowed are {', '.join(map(str, LEVELS))}")
