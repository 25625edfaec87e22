"""From a checkpoint to a file that runtimes outside Python run whole.

Here belongs what makes such a file (`formats`, with the parts of its graph in `graph`) and what
compares it with the checkpoint before it is written (`parity`). `pipeline` puts them in a row.
What runs the file afterwards belongs to `deploy.runtimes`.
"""
