"""Label formats: one module per format that reads or writes one file, and `table.py`, their list.

`annotation.py` has the value type that all of them share, `datasets.py` what is read and written,
`rectangles.py` and `rle.py` the geometry; `guess.py` recognizes formats, `sizes.py` compares labels
with their images, and `class_order.py` finds the order of classes. Whole folders belong to
`DOTA_devkit.convert`, the command line to `DOTA_devkit.commands.convert`.
"""
