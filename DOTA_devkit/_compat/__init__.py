"""Code shared by the modules with historical names (`ImgSplit`, `ResultMerge`, ...).

Only code that reproduces the signatures and results of the original devkit belongs here; the work
is done by `DOTA_devkit.splitting`, `DOTA_devkit.merging` and `DOTA_devkit.scoring`.
"""
