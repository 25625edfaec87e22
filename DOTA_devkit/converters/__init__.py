"""Label formats other than plain DOTA text: one module per format that reads or writes one file.

`annotation.py` has the code that all of them share. Whole folders belong to `DOTA_devkit.convert`,
the command line to `DOTA_devkit.commands.convert`.
"""
