"""Resemblyzer: who is speaking? An LSTM that turns 1.6 s of speech into a vector, near to the same speaker's others.

`features` makes its mel frames out of audio, `spec` holds the network and its export. This package itself imports
nothing.
"""

__all__: list[str] = []
"""Import from the modules."""
