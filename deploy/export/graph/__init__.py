"""The ONNX graph of an exported file, in the order of its nodes: letterbox, heads, decode, nms.

What creates nodes belongs here: `builder` holds the tools for it and `assemble` joins the parts.
The network itself is traced by PyTorch (`deploy.export.network_onnx`).
"""
