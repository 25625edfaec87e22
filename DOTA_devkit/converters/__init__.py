"""One module a label format: how it is read, and how it is written."""
