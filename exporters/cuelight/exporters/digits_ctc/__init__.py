"""Spoken digit strings, recognised while they are spoken: our own small LSTM with CTC, from training to export.

`train` makes the checkpoint out of the Free Spoken Digit Dataset, `evaluate` measures it on a speaker it never heard,
`spec` exports it. This package itself imports nothing.
"""

__all__: list[str] = []
