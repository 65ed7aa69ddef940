"""A sequence in, one number out: an LSTM that foresees the Mackey-Glass series, trained here.

`series` makes the data from its equation, `train` the checkpoint and its measure, `spec` the export. This package
itself imports nothing.
"""

__all__: list[str] = []
"""Import from the modules."""
