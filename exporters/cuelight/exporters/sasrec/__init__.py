"""What people like next, by the order in which they liked: a small Transformer, trained on the spot and exported.

`train` makes it out of everybody's likes, `entry` exports it; `cuelight recommender train` calls both. This package
itself imports nothing.
"""

__all__: list[str] = []
