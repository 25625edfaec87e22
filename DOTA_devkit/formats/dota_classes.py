"""Class names of the DOTA releases."""

from __future__ import annotations

_DOTA_10 = (
    "plane", "baseball-diamond", "bridge", "ground-track-field", "small-vehicle",
    "large-vehicle", "ship", "tennis-court", "basketball-court", "storage-tank",
    "soccer-ball-field", "roundabout", "harbor", "swimming-pool", "helicopter",
)  # fmt: skip

DOTA_CLASSES: dict[str, tuple[str, ...]] = {
    "1.0": _DOTA_10,
    "1.5": (*_DOTA_10, "container-crane"),
    "2.0": (*_DOTA_10, "container-crane", "airport", "helipad"),
}
"""Class names of each release of DOTA, in the order of the class numbers of the original."""
