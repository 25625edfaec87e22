"""The detections of one batch of windows, in pixels of their images."""

from __future__ import annotations

import numpy as np

from deploy.predict.journal import COLUMNS, CORNERS, CUT, LABEL, POSITION, SCORE, BatchResult
from deploy.predict.reading import ReadBatch
from deploy.predict.settings import DetectorLike
from deploy.predict.windows import own_detections


def detect_batch(detector: DetectorLike, batch: ReadBatch) -> BatchResult:
    """Run the detector on a batch and keep what counts in each of its windows."""
    rows = [np.zeros((0, COLUMNS), np.float32)]
    incomplete = []
    found = detector.detect_inputs(batch.images) if batch.images else []
    for position, window, detections in zip(batch.positions, batch.windows, found, strict=True):
        own, cut = own_detections(detections, window)
        part = np.empty((len(own), COLUMNS), np.float32)
        part[:, POSITION], part[:, LABEL], part[:, CUT] = position, own.labels, cut
        part[:, SCORE], part[:, CORNERS] = own.scores, own.corners.reshape(-1, 8)
        rows.append(part)
        if not detections.complete:
            incomplete.append(position)
    return BatchResult(
        batch.number, np.concatenate(rows), batch.without_data, batch.faults, tuple(incomplete)
    )
