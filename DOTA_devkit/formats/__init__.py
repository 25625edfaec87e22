"""The text formats of DOTA: label files, Task1 and Task2 result files, and lists of image ids.

Code that reads and writes these files belongs here; other label formats belong to
`DOTA_devkit.converters`, the fast number parser to `DOTA_devkit.text_table`.
In all of them, fields are separated by any white space, lines may end as on Unix or on Windows, and
blank lines are ignored. Text that cannot be understood is an `InputError` with file and line;
nothing is skipped silently.
"""

from DOTA_devkit.formats.dota_classes import DOTA_CLASSES
from DOTA_devkit.formats.id_lists import read_ids
from DOTA_devkit.formats.labels import (
    Labels,
    crossing_places,
    parse_labels,
    read_label_files,
    read_labels,
    warn_of_crossing,
)
from DOTA_devkit.formats.results import (
    ResultBlock,
    Task1,
    iter_results,
    read_task1,
    read_task2,
    result_coordinates,
    write_task1,
)

__all__ = [
    "DOTA_CLASSES",
    "Labels",
    "ResultBlock",
    "Task1",
    "crossing_places",
    "iter_results",
    "parse_labels",
    "read_ids",
    "read_label_files",
    "read_labels",
    "read_task1",
    "read_task2",
    "result_coordinates",
    "warn_of_crossing",
    "write_task1",
]
