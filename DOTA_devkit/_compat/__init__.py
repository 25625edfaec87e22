"""What the modules of the historical names (`ImgSplit`, `ResultMerge`, ...) have in common.

Only signatures and results of the original belong here; the work is done by the packages beside.
"""
