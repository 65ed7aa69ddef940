"""One sequence on a fleet of servers: it survives the death of the one that holds its state.

    steps -> ReplayBuffer -> a stream to one server -> outputs, each once, in order
                                  |  now and then a token: the server's state after step n, sealed
                                  v
    the server dies, shuts down or forgets -> another stream, to the next server, from the last token: only the steps
    after n are sent again, and of their outputs only those that were not delivered yet are delivered

The state goes on to the bit, so the caller sees one uninterrupted iterator. Which steps are kept for sending again is
bounded by how often tokens are taken.
"""

import base64
import random
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Sequence as Items
from dataclasses import dataclass
from typing import Any

import grpc
from numpy.typing import NDArray

from cuelight.client._open_inference import SERVICE, message
from cuelight.client.errors import CuelightClientError, NotActive, Overloaded, Unavailable, error_from, error_of_status
from cuelight.client.inference import InferenceClient, outputs_of, request_of
from cuelight.client.replay import Reading, ReplayBuffer

__all__ = ["ResumePolicy", "ResumeToken", "Sequence"]

Arrays = Mapping[str, NDArray[Any]]

_PATH = f"/{SERVICE}/ModelStreamInfer"
_RETRIED = (Unavailable, Overloaded)


@dataclass(frozen=True, slots=True)
class ResumeToken:
    """A sequence's state after `steps` steps, sealed by the server."""

    token: bytes
    steps: int


@dataclass(frozen=True, slots=True)
class ResumePolicy:
    """How often to take a token, how far to send ahead, and how long to look for a server.

    A token is taken every `token_every_steps` steps or `token_every_s` seconds, whichever comes first; at most
    `max_kept` steps are kept for sending again, and at most `window` are sent ahead of their outputs. After
    `give_up_after_s` without an answer from any server the last error is raised.
    """

    token_every_steps: int = 50
    token_every_s: float = 1.0
    window: int = 32
    max_kept: int = 1000
    give_up_after_s: float = 30.0
    initial_backoff_s: float = 0.02
    max_backoff_s: float = 1.0

    def __post_init__(self) -> None:
        if self.token_every_steps < 1 or self.window < 1:
            raise ValueError("token_every_steps and window must be at least 1")
        if self.max_kept < self.token_every_steps + self.window:
            raise ValueError("max_kept must be at least token_every_steps + window, or no token could ever free a step")


class Sequence:
    """One sequence. `run` it once; it is not for use by several threads."""

    def __init__(
        self,
        clients: InferenceClient | Items[InferenceClient],
        model: str,
        *,
        version: str = "",
        sequence_id: int | str | None = None,
        policy: ResumePolicy | None = None,
        token: ResumeToken | None = None,
    ) -> None:
        """`clients` are the servers to use, in order of preference; `token` lets a sequence go on from an earlier one.

        Without `sequence_id` the sequence gets a random one.
        """
        self._clients = [clients] if isinstance(clients, InferenceClient) else list(clients)
        self._model = model
        self._version = version
        self.sequence_id: int | str = uuid.uuid4().hex if sequence_id is None else sequence_id
        self._policy = policy if policy is not None else ResumePolicy()
        self.token = token
        """The last token taken, to be kept where it outlives this process, or None."""
        self._origin = token.steps if token is not None else 0
        """How many steps the sequence had taken before the first of `run`."""
        self._place = 0
        self._delivered = 0
        self.resumes = 0
        """How often the sequence went on elsewhere, or anew on the same server."""

    def run(self, steps: Iterable[Arrays]) -> Iterator[dict[str, Any]]:
        """Take one step after another, as they come, and yield the outputs of each, in order and once.

        Raises: InvalidRequest for a step the model cannot take; Unavailable when no server answers for
        `give_up_after_s`; NotActive when the state is lost and no token can bring it back; NotFound; ServerError.
        """
        buffer = ReplayBuffer(steps, self._policy.max_kept)
        buffer.start()
        failures, patience_s = 0, time.monotonic() + self._policy.give_up_after_s
        try:
            while True:
                before = self._delivered
                try:
                    yield from self._connected(buffer)
                except _RETRIED as error:
                    if self._delivered > before:
                        failures, patience_s = 0, time.monotonic() + self._policy.give_up_after_s
                    if time.monotonic() >= patience_s:
                        raise
                    self._turn()
                    self._pause(failures, error)
                    failures += 1
                except _Moved:
                    self._turn()
                else:
                    return
                self.resumes += 1
        finally:
            buffer.close()

    def _turn(self) -> None:
        self._place = (self._place + 1) % len(self._clients)

    def _pause(self, failures: int, error: CuelightClientError) -> None:
        """Wait a little, once every server has been tried."""
        if failures < len(self._clients) - 1 and not isinstance(error, Overloaded):
            return
        bound_s = min(self._policy.initial_backoff_s * 2 ** min(failures, 16), self._policy.max_backoff_s)
        time.sleep(bound_s * (0.5 + random.random() / 2))

    def _connected(self, buffer: ReplayBuffer) -> Iterator[dict[str, Any]]:
        """Run on one server until the steps end (return), the server does (Unavailable), or it sends us on (_Moved)."""
        start = self.token.steps - self._origin if self.token is not None else 0
        reading = Reading(start, self._policy.window)
        channel = self._clients[self._place].channel
        call = channel.open_stream(_PATH, self._requests(buffer, start, reading), message("ModelStreamInferResponse"))
        number = start
        try:
            for response in call:
                if "sequence_handover" in response.infer_response.parameters:
                    self._take_token(response.infer_response, buffer)
                    raise _Moved
                if response.error_message:
                    raise self._step_error(response, number)
                self._take_token(response.infer_response, buffer)
                number += 1
                reading.answered = number
                buffer.wake()
                if number > self._delivered:
                    self._delivered = number
                    yield outputs_of(response.infer_response)
        except grpc.RpcError as error:
            raise error_from(error) from None
        finally:
            reading.over = True
            buffer.wake()
            call.cancel()
        if (failure := buffer.failure()) is not None:
            raise failure
        if not buffer.complete or number < buffer.count:
            raise Unavailable(f"the server ended the stream after step {self._origin + number}")

    def _requests(self, buffer: ReplayBuffer, start: int, reading: Reading) -> Iterator[Any]:
        token = self.token
        due_s = time.monotonic() + self._policy.token_every_s
        for number, inputs in buffer.read(start, reading):
            request = request_of(self._model, self._version, inputs, "")
            parameters = request.parameters
            if isinstance(self.sequence_id, int):
                parameters["sequence_id"].int64_param = self.sequence_id
            else:
                parameters["sequence_id"].string_param = self.sequence_id
            if number == start and token is not None:
                parameters["resume_token"].string_param = base64.b64encode(token.token).decode()
            elif number == start:
                parameters["sequence_start"].bool_param = True
            # The first step asks too: only a sequence that takes tokens is handed over when its server shuts down.
            wanted = number == start or (number + 1 - start) % self._policy.token_every_steps == 0
            if wanted or time.monotonic() >= due_s:
                parameters["return_resume_token"].bool_param = True
                due_s = time.monotonic() + self._policy.token_every_s
            yield request

    def _take_token(self, response: Any, buffer: ReplayBuffer) -> None:
        if "resume_token" not in response.parameters:
            return
        token = base64.b64decode(response.parameters["resume_token"].string_param)
        self.token = ResumeToken(token, response.parameters["sequence_steps"].int64_param)
        buffer.forget(self.token.steps - self._origin)

    def _step_error(self, response: Any, number: int) -> CuelightClientError:
        """Return the error of a step; one that the server has only forgotten can be taken again from the token."""
        status = response.infer_response.parameters["status"].string_param
        error = error_of_status(status, response.error_message)
        step = self._origin + number + 1
        if isinstance(error, NotActive) and number > (self.token.steps - self._origin if self.token else 0):
            return Unavailable(f"step {step}: {error.message}", error.code)
        return type(error)(f"step {step}: {error.message}", error.code)


class _Moved(Exception):
    """The server shuts down and has handed the sequence over."""
