"""The detector: backbones, network, losses, initial weights and checkpoints.

Code that needs PyTorch modules or weights belongs here; datasets, decoding and phases do not. It
imports only `structures` and `DOTA_devkit` of this project.
"""

from models.backbones import BACKBONES, Backbone
from models.checkpoint import (
    Checkpoint,
    build_model,
    finetune,
    load_model,
    read_checkpoint,
    save_checkpoint,
)
from models.ctrbox_net import CTRBOX
from models.losses import DetectionLoss
from models.pretrained import load_pretrained

__all__ = [
    "BACKBONES",
    "CTRBOX",
    "Backbone",
    "Checkpoint",
    "DetectionLoss",
    "build_model",
    "finetune",
    "load_model",
    "load_pretrained",
    "read_checkpoint",
    "save_checkpoint",
]
