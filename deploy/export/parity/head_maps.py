"""Append the decoder to a file in the layout "heads", so that it is compared like other files."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from decoder import DecDecoder
from deploy.export.types import ModelRunner
from deploy.metadata import MAPS, OUTPUTS, ModelMetadata


def with_decoder(run: ModelRunner, metadata: ModelMetadata) -> ModelRunner:
    """Return a runner of the file and the decoder, with the outputs of the layout "corners".

    Args:
        run: Runs the file, which outputs `MAPS`.
        metadata: The metadata of the file.
    """
    lowest = metadata.min_conf_thresh
    decoder = DecDecoder(metadata.K, lowest, metadata.num_classes, metadata.theta_thresh)

    def run_and_decode(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        maps = run({"input": inputs["input"]})
        found = decoder.decode({name: torch.from_numpy(maps[name]) for name in MAPS})
        corners = np.zeros((len(found), metadata.K, 4, 2), np.float32)
        scores = np.zeros((len(found), metadata.K), np.float32)
        labels = np.full((len(found), metadata.K), -1, np.int64)
        for number, one in enumerate(found):
            rows = number, slice(len(one))
            corners[rows], scores[rows], labels[rows] = one.corners, one.scores, one.labels
        return dict(zip(OUTPUTS, (corners, scores, labels), strict=True))

    return run_and_decode
