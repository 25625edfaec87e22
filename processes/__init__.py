"""The processes that share a phase: how many there are, how they are started, what they exchange.

What is specific to a phase does not belong here: how a batch or a list of images is shared out is
in `datasets.batching` and `inference`. Without torchrun there is one process, and nothing here
touches `torch.distributed`.
"""
