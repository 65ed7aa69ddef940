"""From a model's probabilities to tokens, and from tokens to words. Pure: no clock, no task, no transport."""

from cuelight.server.speech.decoding.confidence import confidence_of
from cuelight.server.speech.decoding.ctc_beam import CtcBeamSearch
from cuelight.server.speech.decoding.ctc_greedy import CtcGreedySearch
from cuelight.server.speech.decoding.decoded import Decoded
from cuelight.server.speech.decoding.phrases import PhraseGraph
from cuelight.server.speech.decoding.tokens import TokenTable

__all__ = ["CtcBeamSearch", "CtcGreedySearch", "Decoded", "PhraseGraph", "TokenTable", "confidence_of"]
