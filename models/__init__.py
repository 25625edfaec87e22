"""The detector: backbones, network, losses, initial weights and checkpoints.

Code that needs PyTorch modules or weights belongs here; datasets, decoding and phases do not. Of
this project, it imports only `structures`, `processes` and `DOTA_devkit`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from DOTA_devkit.lazy_names import lazy_names

if TYPE_CHECKING:
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

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "backbones": ("BACKBONES", "Backbone"),
        "checkpoint": (
            "Checkpoint",
            "build_model",
            "finetune",
            "load_model",
            "read_checkpoint",
            "save_checkpoint",
        ),
        "ctrbox_net": ("CTRBOX",),
        "losses": ("DetectionLoss",),
        "pretrained": ("load_pretrained",),
    },
)
