"""Parity check: compare an exported file with its checkpoint on images before it is written.

`model_pair` runs both, `matching` pairs up what they find, `verdict` judges the differences by a
`tolerance`, and `check` puts these together. Nothing here changes the file.
"""
