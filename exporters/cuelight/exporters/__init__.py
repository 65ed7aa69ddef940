"""Exporters: trained PyTorch models to self-describing ONNX files that carry their own proof.

Import from the modules: `export` (export_model), `spec` (ExportSpec), `registry` (SPECS). This package itself imports
nothing, so that what needs no torch (fetching samples) stays quick.
"""

__all__: list[str] = []
