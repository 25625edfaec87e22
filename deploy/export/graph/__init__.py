"""The ONNX graph of an exported file, in the order of its nodes: letterbox, heads, decode, nms.

Code that creates nodes belongs here: `builder` has the tools for it, `assemble` joins the parts.
The network itself is traced by PyTorch (`deploy.export.network_onnx`).
"""
