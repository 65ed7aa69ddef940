"""Our Riva contract is the one nvidia-riva-client 2.28 was built with: every name, number, label, type, oneof and enum.

Theirs are read in a process of their own, since a process takes a full name once.
"""

import base64
import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import version

from google.protobuf.descriptor_pb2 import FileDescriptorProto

from cuelight.compat.riva import riva_asr_pb2, riva_audio_pb2, riva_common_pb2
from tests.compat.riva_client import client_environment
from tests.compat.test_descriptors import facts_of_file

_DUMP = """
import base64
from riva.client.proto import riva_asr_pb2, riva_audio_pb2, riva_common_pb2
for module in (riva_asr_pb2, riva_audio_pb2, riva_common_pb2):
    print(base64.b64encode(module.DESCRIPTOR.serialized_pb).decode())
"""
_TIMEOUT_S = 60

Facts = set[tuple[str, ...]]


def facts_of(files: Iterable[bytes]) -> Facts:
    """Return what the files declare, each fact with its package."""
    parsed = [FileDescriptorProto.FromString(file) for file in files]
    return {(file.package, *fact) for file in parsed for fact in facts_of_file(file)}


def theirs() -> Facts:
    run = subprocess.run(
        [sys.executable, "-c", _DUMP],
        env=client_environment(),
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=True,
    )
    return facts_of(base64.b64decode(line) for line in run.stdout.split())


def test_our_descriptors_are_those_of_rivas_client() -> None:
    their_facts = theirs()
    ours = facts_of(module.DESCRIPTOR.serialized_pb for module in (riva_asr_pb2, riva_audio_pb2, riva_common_pb2))

    assert version("nvidia-riva-client") == "2.28.0"
    assert len(their_facts) > 100
    assert ours - their_facts == set()
    assert their_facts - ours == set()


def test_services_are_called_by_rivas_names() -> None:
    (service,) = riva_asr_pb2.DESCRIPTOR.services_by_name.values()

    assert service.full_name == "nvidia.riva.asr.RivaSpeechRecognition"
