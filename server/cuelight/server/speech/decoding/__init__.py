"""From a model's probabilities to tokens, and from tokens to words. Pure: no clock, no task, no transport."""

from cuelight.server.speech.decoding.confidence import confidence_of
from cuelight.server.speech.decoding.ctc_beam import CtcBeamSearch
from cuelight.server.speech.decoding.ctc_greedy import CtcGreedySearch
from cuelight.server.speech.decoding.decoded import Decoded
from cuelight.server.speech.decoding.hypotheses import hypotheses_of
from cuelight.server.speech.decoding.phrases import PhraseGraph
from cuelight.server.speech.decoding.running_text import RunningText
from cuelight.server.speech.decoding.tokens import TokenTable
from cuelight.server.speech.decoding.transducer import Decoder, GreedyState, Joiner, greedy
from cuelight.server.speech.decoding.transducer_beam import BeamState, modified_beam

__all__ = [
    "BeamState",
    "CtcBeamSearch",
    "CtcGreedySearch",
    "Decoded",
    "Decoder",
    "GreedyState",
    "Joiner",
    "PhraseGraph",
    "RunningText",
    "TokenTable",
    "confidence_of",
    "greedy",
    "hypotheses_of",
    "modified_beam",
]
