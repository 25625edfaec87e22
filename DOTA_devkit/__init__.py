"""Tools for DOTA-style data: polygon IoU and NMS, splitting, merging, scoring, file formats.

The package stands alone and needs no compiler. Importing it requires only NumPy; Shapely, OpenCV
(splitting, previews), matplotlib (plots) and tqdm (progress bars) are imported where they are
used. Models, datasets for training and everything else that needs PyTorch do not belong here.
"""
