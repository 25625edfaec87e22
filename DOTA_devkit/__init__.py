"""Tools for DOTA-style data: polygon overlap and NMS, splitting, merging, scoring, file formats.

This package stands alone: it imports nothing of the rest of the project and needs no compiler.
Importing it loads numpy only; splitting and previews use OpenCV, plots matplotlib, progress bars
tqdm, each imported where it is used. Models, training and inference do not belong here.
"""
