"""Detection in images of any size, from image files to result files.

Here belong the steps that an image goes through, in this order: `sources` (which images), `plan`
(their windows), `reading` (pixels), `detect` (detections of each window), `journal` (what is done
so far), `seams` (one result per image) and `writers` (files). `pipeline` calls them one by one.
How a model is run does not belong here; see `deploy.detector` and `deploy.runtimes`.
"""
