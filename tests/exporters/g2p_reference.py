"""The published NumPy code of g2p-en, taken out of its wheel as it is and run: what our export must agree with.

It wants NLTK and a module of its own for whole sentences; single words need neither, so empty ones stand in.
"""

import importlib.util
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from cuelight.exporters.g2p_en import WEIGHTS
from cuelight.exporters.weights import WheelFile

__all__ = ["FILES", "published_g2p"]

CODE = WheelFile(
    requirement=WEIGHTS.requirement,
    path="g2p_en/g2p.py",
    sha256="fc2548b855e102f774506a6afe4f4bc88424229b69701ab6040aa16710ddff3a",
)
HOMOGRAPHS = WheelFile(
    requirement=WEIGHTS.requirement,
    path="g2p_en/homographs.en",
    sha256="0403edcc6aefe8945f8987be398279fd98bf6b767e54b741331d3bc99a307071",
)
FILES = (WEIGHTS, CODE, HOMOGRAPHS)
"""They lie in one folder of the cache, as in the wheel."""


def published_g2p(cache_dir: Path) -> Any:
    """Return their `G2p`, whose `predict(word)` gives the phonemes of a word. Raises: WeightsError."""
    path = [file.fetch(cache_dir) for file in FILES][FILES.index(CODE)]
    with _stand_ins(), warnings.catch_warnings():
        # Of an escape that newer Pythons complain about.
        warnings.simplefilter("ignore")
        spec = importlib.util.spec_from_file_location("g2p_en.g2p", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.G2p()


@contextmanager
def _stand_ins() -> Iterator[None]:
    made = {name: ModuleType(name) for name in ("nltk", "nltk.corpus", "nltk.tokenize", "g2p_en", "g2p_en.expand")}
    made["nltk"].pos_tag = made["nltk"].data = _Anything()  # type: ignore[attr-defined]
    made["nltk.corpus"].cmudict = _Anything()  # type: ignore[attr-defined]
    made["nltk.tokenize"].TweetTokenizer = _Anything  # type: ignore[attr-defined]
    made["g2p_en.expand"].normalize_numbers = _Anything()  # type: ignore[attr-defined]
    before = {name: sys.modules.get(name) for name in made}
    sys.modules.update(made)
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


class _Anything:
    """Has whatever is asked for, and does nothing with it."""

    def __getattr__(self, name: str) -> "_Anything":
        return self

    def __call__(self, *arguments: object) -> "_Anything":
        return self
