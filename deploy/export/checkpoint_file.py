"""Checkpoints with the weights alone, which need no package of the extra `export`."""

from __future__ import annotations

from deploy.export import torch_program
from deploy.export.graph.heads import HeadsAtPeaks
from deploy.export.job import BuiltModel, ExportJob
from deploy.export.network import ExportNetwork
from models import Checkpoint, build_model, read_checkpoint, save_checkpoint
from models.image_entries import image_entries


def build_checkpoint(job: ExportJob) -> BuiltModel:
    """Build a checkpoint with the weights alone, without what only resuming a training needs."""
    settings = job.settings
    data = image_entries(settings.reading, settings.train_scale)
    extras = {"data": data} if data else {}
    checkpoint = Checkpoint.of(job.model, epoch=settings.epoch, extras=extras)
    if settings.half:
        checkpoint.model_state = {
            name: value.half() if value.is_floating_point() else value
            for name, value in checkpoint.model_state.items()
        }
    save_checkpoint(job.path, checkpoint)
    network = ExportNetwork(build_model(read_checkpoint(job.path)))
    heads = HeadsAtPeaks(network.box_heads, network.box_coding)
    detector = torch_program.TorchDetector(network, heads, job.metadata).eval()
    run = torch_program.module_runner(detector, job.metadata.outputs)
    return BuiltModel(run, lambda output: save_checkpoint(output, checkpoint))
