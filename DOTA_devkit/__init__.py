"""Tools for DOTA-style data: polygon overlap and NMS, splitting, merging, scoring, file formats.

Needs no compiler. Imported alone it asks for numpy only; splitting and previews use OpenCV,
plots matplotlib, long work tqdm, each imported where it is used.
"""
