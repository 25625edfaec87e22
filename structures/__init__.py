"""Small values that everything hands on: boxes, letterbox, detections, Task1 tables, pictures.

Here belongs what both training and deployment speak in. It knows of no network, no data set and
no phase, and imports nothing of this project but `DOTA_devkit`.
"""
