"""The command `cuelight transcribe`: recordings, standard input or the microphone; text, subtitles or JSON.

Files are sent as fast as they are taken, and with `--live` as fast as they were spoken. Exit codes: 0 done, 1 failed
while running, 2 the command line is unusable.
"""

import argparse
import json
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Sequence as Items
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

from cuelight.client.channel import Channel
from cuelight.client.connection_options import (
    DEFAULT_URL,
    Unusable,
    add_connection,
    check_address,
    exit_code,
    note_silence,
    tls_of,
)
from cuelight.client.errors import InvalidRequest
from cuelight.client.live_text import live_text
from cuelight.client.microphone import MICROPHONE_FORMAT, Microphone, MicrophoneMissing
from cuelight.client.recognition import SpeechClient
from cuelight.client.recording_files import duration_of, paced
from cuelight.client.speech_options import AudioFormat, Phrase, RecognitionOptions
from cuelight.client.subtitles import srt, vtt
from cuelight.client.transcripts import RecognitionResult, SpeechUpdate, StreamStarted, Transcript

__all__ = ["main"]

_STANDARD_INPUT = "-"
_STANDARD_OUTPUT = "-"
_READ_BYTES = 3200


@dataclass(frozen=True, slots=True)
class _Source:
    """What is transcribed. `updates` begins when it is called."""

    name: str
    duration_s: float | None
    updates: Callable[[], Iterable[SpeechUpdate]]


def main(words: Items[str]) -> int:
    """Run `cuelight transcribe` and return the exit code."""
    arguments = _parser().parse_args(words)
    return exit_code(lambda: _transcribe(arguments), MicrophoneMissing)


def _transcribe(arguments: argparse.Namespace) -> int:
    _check(arguments)
    with ExitStack() as stack:
        tls, urls = tls_of(arguments), arguments.url or [DEFAULT_URL]
        for url in urls:
            check_address(url)
        channels = [stack.enter_context(Channel(url, tls=tls)) for url in urls]
        note_silence(channels)
        return _transcribe_all(arguments, SpeechClient(channels))


def _transcribe_all(arguments: argparse.Namespace, client: SpeechClient) -> int:
    """Transcribe one after the other; one that cannot be is named, and the others are done all the same."""
    code = 0
    for source in _sources(arguments, client):
        try:
            transcript = _transcribed(arguments, source)
        except InvalidRequest as error:
            print(f"cuelight: error: {source.name}: {error}", file=sys.stderr)
            code = 1
            continue
        if not transcript.results:
            print(f"cuelight: note: {source.name}: nothing was recognized", file=sys.stderr)
        _write(arguments, source.name, transcript)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cuelight transcribe", description="Turn speech into text.")
    add = parser.add_argument
    add("files", nargs="*", metavar="FILE", help="WAV, FLAC or Ogg Opus; - for standard input, live")
    add("--microphone", action="store_true", help="listen until Ctrl-C (needs cuelight[microphone])")
    add_connection(parser, several=True)
    add("--model", default="", metavar="NAME", help="default: the server's")
    add("--language", default="", metavar="TAG", help="such as en-US; default: the model's")
    add("--phrases", type=Path, metavar="FILE", help="likelier words, one phrase a line; a tab and a boost may follow")
    add("--raw", type=int, default=0, metavar="HZ", help="the audio has no header: 16-bit mono at this rate")
    add("--live", action="store_true", help="send files as fast as they were spoken")
    add("--interim", action=argparse.BooleanOptionalAction, help="show what may still change (default: on a terminal)")
    add("--words", action="store_true", help="show every word with its times")
    add("--srt", metavar="OUT", help="write SubRip subtitles; - for standard output, a folder for several files")
    add("--vtt", metavar="OUT", help="write WebVTT subtitles, likewise")
    add("--json", action="store_true", help="print one JSON object a recording")
    return parser


def _check(arguments: argparse.Namespace) -> None:
    if bool(arguments.files) == arguments.microphone:
        raise Unusable("expected recordings or --microphone, and not both")
    if [arguments.srt, arguments.vtt, "-" if arguments.json else None].count(_STANDARD_OUTPUT) > 1:
        raise Unusable("only one of --srt -, --vtt - and --json can go to standard output")
    for out in (arguments.srt, arguments.vtt):
        if out not in {None, _STANDARD_OUTPUT} and len(arguments.files) > 1 and not Path(out).is_dir():
            raise Unusable(f"{out}: expected a folder that exists, for the subtitles of several recordings")
    for file in arguments.files:
        if file != _STANDARD_INPUT and not Path(file).is_file():
            raise Unusable(f"{file}: no such file")


def _options(arguments: argparse.Namespace) -> RecognitionOptions:
    audio = AudioFormat(arguments.raw, "linear16", 1) if arguments.raw else AudioFormat()
    return RecognitionOptions(
        language=arguments.language,
        audio=MICROPHONE_FORMAT if arguments.microphone else audio,
        # Subtitles are cut between words, JSON has them all.
        words=bool(arguments.words or arguments.srt or arguments.vtt or arguments.json),
        phrases=_phrases(arguments.phrases) if arguments.phrases else (),
    )


def _phrases(path: Path) -> tuple[Phrase, ...]:
    phrases = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        text, _, boost = line.partition("\t")
        try:
            phrases += [Phrase(text.strip(), float(boost) if boost else 1.5)] if text.strip() else []
        except ValueError:
            raise Unusable(f'{path}, line {number}: expected a number after the tab, got "{boost}"') from None
    return tuple(phrases)


def _sources(arguments: argparse.Namespace, client: SpeechClient) -> Iterator[_Source]:
    options, model = _options(arguments), arguments.model
    if arguments.microphone:
        microphone = Microphone()
        yield _Source("microphone", None, lambda: _until_interrupted(client, microphone, model, options))
    for file in arguments.files:
        yield _file_source(file, arguments, client, options)


def _file_source(
    file: str, arguments: argparse.Namespace, client: SpeechClient, options: RecognitionOptions
) -> _Source:
    model = arguments.model
    if file == _STANDARD_INPUT:
        return _Source("standard input", None, lambda: client.stream(_standard_input(), model=model, options=options))
    path = Path(file)
    duration_s = duration_of(path, options.audio)
    if not arguments.live:
        return _Source(file, duration_s, lambda: client.recognize(path, model=model, options=options))
    if duration_s is None:
        raise Unusable(f"{file}: --live needs a file that tells its length: WAV, FLAC or Ogg Opus, or --raw")
    return _Source(file, duration_s, lambda: client.stream(paced(path, duration_s), model=model, options=options))


def _standard_input() -> Iterator[bytes]:
    # Unbuffered, so that audio goes on as it comes and does not wait until a buffer is full.
    with open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as source:
        while piece := source.read(_READ_BYTES):
            yield piece


def _until_interrupted(
    client: SpeechClient, microphone: Microphone, model: str, options: RecognitionOptions
) -> Iterator[SpeechUpdate]:
    """Yield updates; the first Ctrl-C ends the audio, and what was said by then is still recognized."""
    with _on_interrupt(microphone.stop), client.stream(microphone, model=model, options=options) as stream:
        yield from stream


@contextmanager
def _on_interrupt(stop: Callable[[], None]) -> Iterator[None]:
    def once(*_: object) -> None:
        signal.signal(signal.SIGINT, before)
        stop()

    before = signal.signal(signal.SIGINT, once)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _transcribed(arguments: argparse.Namespace, source: _Source) -> Transcript:
    """Show what comes as it comes, and return the whole."""
    results: list[RecognitionResult] = []
    duration_s, started = 0.0, None
    with live_text(
        _text_out(arguments), interim=arguments.interim, words=arguments.words, duration_s=source.duration_s
    ) as view:
        for update in source.updates():
            results += update.finals
            duration_s = update.processed_s
            if update.started is not None:
                started = update.started
                _tell_ignored(started, arguments.words)
            view.show(update)
    return Transcript(tuple(results), duration_s, started)


def _text_out(arguments: argparse.Namespace) -> TextIO:
    """Return where people read: not where a machine does."""
    machine = arguments.json or _STANDARD_OUTPUT in {arguments.srt, arguments.vtt}
    return sys.stderr if machine else sys.stdout


def _tell_ignored(started: StreamStarted, words: bool) -> None:
    """Say what was asked for in vain; words with times, where only subtitles asked for them, are done without."""
    for option, reason in sorted(started.ignored.items()):
        if option == "word_times" and not words:
            continue
        print(f"cuelight: note: {started.model} ignores {option}: {reason}", file=sys.stderr)


def _write(arguments: argparse.Namespace, name: str, transcript: Transcript) -> None:
    for out, suffix, text in ((arguments.srt, ".srt", srt), (arguments.vtt, ".vtt", vtt)):
        if out == _STANDARD_OUTPUT:
            sys.stdout.write(text(transcript.results))
        elif out is not None:
            path = Path(out)
            path = path / f"{Path(name).stem}{suffix}" if path.is_dir() else path
            path.write_text(text(transcript.results), encoding="utf-8")
    if arguments.json:
        print(json.dumps(_as_json(name, transcript), ensure_ascii=False))
    sys.stdout.flush()


def _as_json(name: str, transcript: Transcript) -> dict[str, Any]:
    started = transcript.started
    return {
        "file": name,
        "model": started.model if started else "",
        "language": started.language if started else "",
        "ignored": dict(started.ignored) if started else {},
        "duration_s": transcript.duration_s,
        "text": transcript.text,
        "results": [asdict(result) for result in transcript.results],
    }
