"""Data structures shared by all parts: boxes, letterbox, detections, Task1 tables, pictures.

What both training and deployment exchange belongs here. Networks, datasets and phases do not: this
package imports nothing of this project but `DOTA_devkit`.
"""
