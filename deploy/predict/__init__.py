"""Detections in images of any size, on disk: windows, batches, one merged result.

Here belongs the way of an image through `predict`, in this order: `sources` (which images),
`plan` (which windows of them), `reading` (their pixels), `journal` (what is done so far), `seams`
(one result an image) and `writers` (files). `pipeline` puts them in a row.
"""
