"""Ten live streams on two servers, one of which dies: what was said is what an undisturbed run says, once."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from numpy.typing import NDArray

from cuelight.client import Channel
from cuelight.client.recognition import SpeechClient
from cuelight.speech.v1 import speech_pb2 as pb
from tests.serve_process import FRONTS, ServeProcess, run_cuelight, running_server
from tests.server.speech.sherpa_models import nemo_ctc
from tests.server.speech.sherpa_reference import speech_like
from tests.server.speech.speaking import config, finals, pieces, stream

STREAMS = 10
SECONDS = 8.0
