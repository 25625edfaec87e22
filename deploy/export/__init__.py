"""Export a checkpoint to one file that runtimes outside Python run end to end.

Code that builds the file belongs here (`builders`, with the parts of its ONNX graph in `graph`),
and code that compares it with the checkpoint before it is written (`parity`). `pipeline` runs these
steps. Running the file afterwards belongs to `deploy.runtimes`.
"""
