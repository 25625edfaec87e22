"""Data structures shared by all parts: boxes, letterbox, detections, Task1 tables, drawing.

Code that both training and deployment use belongs here. Networks, datasets and phases do not: this
package imports only `DOTA_devkit` of this project.
"""
