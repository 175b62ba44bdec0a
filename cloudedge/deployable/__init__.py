"""A model as it is deployed: one ONNX file, checked before anything of it runs, and run by onnxruntime alone.

What checks and runs it needs no torch, so that a detector needs none; only `converting`, which the cloud uses, imports it.
"""
