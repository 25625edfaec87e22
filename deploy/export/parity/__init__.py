"""Parity check: compare an exported file with its checkpoint on images before it is written.

`model_pair` runs both, `matching` matches their detections, `verdict` judges the differences by a
`tolerance`, and `check` combines these steps. The file itself is not changed.
"""
