"""An exported file against its checkpoint, on images: the report after every export.

Here belongs what runs both, matches what they find and judges the differences (`check`). It never
changes the file.
"""
