"""Tokens: what one server seals another opens, and nothing else."""

from pathlib import Path

import numpy as np
import pytest

from cuelight.inference.v1 import sequences_pb2 as pb
from cuelight.server.errors import ConfigError, InvalidRequest, SequenceNotActive
from cuelight.server.inference.datatypes import DATATYPES
from cuelight.server.inference.resume_tokens import TokenSealer, sequence_id_of, snapshot_of, state_of
from cuelight.server.inference.sequence_batch import SequenceState
from cuelight.server.inference.sequence_spec import SequenceSpec, StateSpec
from cuelight.server.inference.token_keys import KeyFile, new_key_entry, read_keys

DIGEST = "ab" * 32


def spec(*shape: int, name: str = "h", datatype: str = "FP32") -> SequenceSpec:
    declared = DATATYPES[datatype]
    state = StateSpec(name, f"{name}_next", declared, shape, 0, np.zeros(shape, declared.dtype))
    return SequenceSpec((state,), (), 10, 60.0)


def snapshot(steps: int = 5) -> pb.SequenceSnapshot:
    state = SequenceState((np.arange(4, dtype=np.float32),), steps)
    return snapshot_of("m", 3, DIGEST, "voice", state, spec(4))


def key_file(folder: Path, *ids: str) -> Path:
    path = folder / "keys.toml"
    path.write_text("".join(new_key_entry(key_id) for key_id in ids))
    return path


def test_a_token_opens_on_another_server_with_the_same_keys(tmp_path: Path) -> None:
    path = key_file(tmp_path, "k1")
    ours, theirs = (TokenSealer(KeyFile(path), 60.0) for _ in range(2))

    opened = theirs.open(ours.seal(snapshot()))

    state = state_of(opened, spec(4))
    assert (opened.model_name, opened.model_version, opened.model_digest.hex()) == ("m", 3, DIGEST)
    assert sequence_id_of(opened.sequence_id) == "voice"
    assert state.steps == 5
    assert state.rows[0].tolist() == [0, 1, 2, 3]


def test_two_tokens_of_the_same_state_differ_and_hide_it(tmp_path: Path) -> None:
    sealer = TokenSealer(KeyFile(None), 60.0)

    first, second = sealer.seal(snapshot()), sealer.seal(snapshot())

    assert first != second
    assert b"voice" not in first
    assert np.arange(4, dtype=np.float32).tobytes() not in first


def test_without_a_key_file_a_token_opens_where_it_was_made_alone() -> None:
    ours, theirs = (TokenSealer(KeyFile(None), 60.0) for _ in range(2))
    token = ours.seal(snapshot())

    assert ours.open(token).steps == 5
    with pytest.raises(InvalidRequest, match=r'sealed with key "local-\w+", this server has "local-\w+"'):
        theirs.open(token)


def test_a_key_of_the_same_name_and_another_value_does_not_open(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    ours = TokenSealer(KeyFile(key_file(tmp_path / "a", "k1")), 60.0)
    theirs = TokenSealer(KeyFile(key_file(tmp_path, "k1")), 60.0)

    with pytest.raises(InvalidRequest, match='does not open with key "k1": the token was altered, or the key differs'):
        theirs.open(ours.seal(snapshot()))


def test_every_altered_byte_is_noticed() -> None:
    sealer = TokenSealer(KeyFile(None), 60.0)
    token = sealer.seal(snapshot())

    for place in range(len(token)):
        altered = bytearray(token)
        altered[place] ^= 1
        with pytest.raises(InvalidRequest, match="resume_token"):
            sealer.open(bytes(altered))


@pytest.mark.parametrize("garbage", [b"", b"CLT1", b"CLT1\xff", b"nonsense" * 20, b"CLT1\x00" + b"\0" * 60])
def test_garbage_is_no_token(garbage: bytes) -> None:
    with pytest.raises(InvalidRequest, match="resume_token"):
        TokenSealer(KeyFile(None), 60.0).open(garbage)


def test_a_token_cut_short_is_no_token() -> None:
    sealer = TokenSealer(KeyFile(None), 60.0)
    token = sealer.seal(snapshot())

    for size in range(0, len(token), 7):
        with pytest.raises(InvalidRequest, match="resume_token"):
            sealer.open(token[:size])


def test_an_expired_token_says_since_when() -> None:
    now = [1000.0]
    sealer = TokenSealer(KeyFile(None), 60.0, lambda: now[0])
    token = sealer.seal(snapshot())

    now[0] = 1059.0
    assert sealer.open(token).steps == 5
    now[0] = 1090.0
    with pytest.raises(SequenceNotActive, match="expired 30 s ago"):
        sealer.open(token)


def test_keys_are_rotated_without_a_restart(tmp_path: Path) -> None:
    path = key_file(tmp_path, "old")
    sealer = TokenSealer(KeyFile(path), 60.0)
    old_token = sealer.seal(snapshot())

    path.write_text(new_key_entry("new") + path.read_text())
    new_token = sealer.seal(snapshot())

    assert b"new" in new_token
    assert sealer.open(old_token).steps == sealer.open(new_token).steps == 5
    path.write_text(path.read_text().split("\n\n")[0].split('[[keys]]\nid = "old"')[0])
    with pytest.raises(InvalidRequest, match='sealed with key "old", this server has "new"'):
        sealer.open(old_token)


def test_a_key_file_that_breaks_leaves_the_keys_read_before(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = key_file(tmp_path, "k1")
    sealer = TokenSealer(KeyFile(path), 60.0)
    token = sealer.seal(snapshot())

    path.write_text("nonsense")

    assert sealer.open(token).steps == 5
    assert "not valid TOML" in caplog.text
    assert "the keys read before stay" in caplog.text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"expected one or more \[\[keys\]\]"),
        ("x = 1", r"expected one or more \[\[keys\]\]"),
        ('[[keys]]\nid = "a"', 'keys\\[0\\]: expected the strings "id" and "key"'),
        ('[[keys]]\nid = ""\nkey = "AAAA"', "id: expected 1 to 64 bytes, got 0"),
        ('[[keys]]\nid = "a"\nkey = "?"', "key: not base64"),
        ('[[keys]]\nid = "a"\nkey = "AAAA"', "expected 32 bytes in base64, got 3"),
    ],
)
def test_an_unusable_key_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "keys.toml"
    path.write_text(text)

    with pytest.raises(ConfigError, match=f"keys.toml.*{message}"):
        read_keys(path)


def test_two_keys_of_one_id_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="key ids must differ, got a, a"):
        read_keys(key_file(tmp_path, "a", "a"))


@pytest.mark.parametrize(
    "other",
    [spec(5), spec(4, name="g"), spec(4, datatype="FP16"), spec(2, 2)],
    ids=["size", "name", "datatype", "rank"],
)
def test_a_state_of_another_form_is_refused(other: SequenceSpec) -> None:
    with pytest.raises(SequenceNotActive, match=r"resume_token: holds state h FP32 \[4\], the model has"):
        state_of(snapshot(), other)
