"""The parts of a training run, which `train.py` puts together.

Here belongs what a training keeps, schedules, guards and writes. Losses belong to `models`, targets
and augmentation to `datasets`.
"""
