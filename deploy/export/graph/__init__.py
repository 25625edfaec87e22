"""The parts of an ONNX file's graph, in the order of its nodes: letterbox, heads, decode, nms.

Here belongs what builds nodes; `builder` holds the tools for it and `assemble` puts the parts
together. The network itself is traced by PyTorch (`deploy.export.network_onnx`).
"""
