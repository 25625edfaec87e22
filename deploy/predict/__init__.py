"""Detection in images of any size, from image files to result files.

The steps that an image goes through belong here, in this order: `sources` (which images), `plan`
(their windows), `reading` (pixels), `detect` (detections of each window), `journal` (progress so
far), `seams` (one result per image) and `writers` (files; `labels` those of annotation tools).
`pipeline` calls them one after the other. Running a model does not belong here; see
`deploy.detector` and `deploy.runtimes`.
"""
