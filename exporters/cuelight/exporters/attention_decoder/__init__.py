"""English words to phonemes with attention: our own small encoder-decoder, from training to export.

`train` makes the checkpoint out of CMUdict, `evaluate` measures it on words it never saw, `spec` exports it. This
package itself imports nothing.
"""

__all__: list[str] = []
