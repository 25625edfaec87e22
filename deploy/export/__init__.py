"""Export a checkpoint to one file that runtimes outside Python run end to end.

What builds the file belongs here (`formats`, with the parts of its ONNX graph in `graph`), and what
compares it with the checkpoint before it is written (`parity`). `pipeline` runs these steps. What
runs the file afterwards belongs to `deploy.runtimes`.
"""
