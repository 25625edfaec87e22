"""The parts of a training run, which `train.py` puts together.

The settings, learning rate schedule, guards, history and files of a training run belong here, and
what it shows (pictures, TensorBoard, the report).
Losses belong to `models`, targets and augmentation to `datasets`.
"""
