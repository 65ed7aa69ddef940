"""Who is let in: by the model's step at first, then by what voices were measured to cost."""

from dataclasses import dataclass

import pytest

from cuelight.server.errors import Overloaded
from cuelight.server.speech.service.admission import Admission, Clocks

CHUNK_S = 0.16


@dataclass
class Machine:
    """Clocks that are set by hand."""

    wall_s: float = 0.0
    process_s: float = 0.0
    loop_s: float = 0.0

    def clocks(self) -> Clocks:
        return Clocks(lambda: self.wall_s, lambda: self.process_s, lambda: self.loop_s)


def filled(admission: Admission, step_s: float) -> int:
    """Return how many voices are let in before one is refused."""
    for count in range(10_000):
        try:
            admission.enter("m", step_s / CHUNK_S, CHUNK_S)
        except Overloaded as error:
            assert error.retry_after_s == 1.0
            return count
    return -1


def test_at_first_the_models_own_step_decides() -> None:
    # A step of 15.6 ms and 0.4 ms around it, every 160 ms: a tenth of a core. 0.9 of 2 cores hold 18.
    assert filled(Admission(2, 0.9, 10_000, Machine().clocks()), 0.0156) == 18


def test_what_voices_cost_takes_its_place() -> None:
    machine = Machine()
    admission = Admission(2, 0.9, 10_000, machine.clocks())
    for _ in range(10):
        admission.enter("m", 0.0156 / CHUNK_S, CHUNK_S)
    # Ten voices speak for two seconds and take 0.02 of a core each, a quarter of it on the loop.
    machine.wall_s, machine.process_s, machine.loop_s = 2.0, 0.4, 0.1
    admission.recognized(20.0, 0.001)

    assert filled(admission, 0.0156) + 10 == 90


def test_an_elastic_model_is_taken_at_what_its_voices_cost_in_company() -> None:
    machine = Machine()
    admission = Admission(2, 0.9, 10_000, machine.clocks())
    for _ in range(2):
        admission.enter("m", 0.1, CHUNK_S, elastic=True)
    # Two voices take half a core each, for there is nobody else.
    machine.wall_s, machine.process_s, machine.loop_s = 10.0, 10.0, 0.1
    admission.recognized(20.0, 0.001)

    for _ in range(16):
        admission.enter("m", 0.1, CHUNK_S, elastic=True)
    with pytest.raises(Overloaded):
        admission.enter("m", 0.1, CHUNK_S, elastic=True)


def test_the_loop_is_one_core_only() -> None:
    machine = Machine()
    admission = Admission(16, 0.9, 10_000, machine.clocks())
    for _ in range(10):
        admission.enter("m", 0.001 / CHUNK_S, CHUNK_S)
    machine.wall_s, machine.process_s, machine.loop_s = 2.0, 0.2, 0.2
    admission.recognized(20.0, 0.001)

    assert filled(admission, 0.001) + 10 == 90


def test_voices_that_are_behind_let_no_other_in() -> None:
    machine = Machine()
    admission = Admission(2, 0.9, 10_000, machine.clocks())
    admission.enter("m", 0.001 / CHUNK_S, CHUNK_S)
    machine.wall_s = 2.0
    admission.recognized(CHUNK_S, CHUNK_S)

    with pytest.raises(Overloaded, match="of their audio's own time"):
        admission.enter("m", 0.001 / CHUNK_S, CHUNK_S)


def test_who_leaves_makes_room() -> None:
    admission = Admission(1, 0.9, 1, Machine().clocks())
    admission.enter("m", 0.001 / CHUNK_S, CHUNK_S)
    with pytest.raises(Overloaded):
        admission.enter("m", 0.001 / CHUNK_S, CHUNK_S)

    admission.leave()

    admission.enter("m", 0.001 / CHUNK_S, CHUNK_S)
    assert (admission.live, admission.refused) == (1, 1)


def test_a_server_that_did_other_things_for_hours_still_lets_voices_in() -> None:
    machine = Machine()
    admission = Admission(2, 0.9, 10_000, machine.clocks())
    admission.enter("m", 0.01, CHUNK_S)
    machine.wall_s = 0.5
    admission.recognized(6.0, 0.001)
    admission.leave()
    machine.wall_s, machine.process_s, machine.loop_s = 36_000.0, 36_000.0, 9_000.0

    admission.enter("m", 0.01, CHUNK_S)
    machine.wall_s += 2.0
    assert admission.live == 1
    admission.enter("m", 0.01, CHUNK_S)


def test_waiting_is_forgotten_when_nobody_waits_any_more() -> None:
    machine = Machine()
    admission = Admission(2, 0.9, 10_000, machine.clocks())
    admission.enter("m", 0.01, CHUNK_S)
    machine.wall_s = 2.0
    admission.recognized(CHUNK_S, CHUNK_S)
    machine.wall_s = 4.0

    admission.enter("m", 0.01, CHUNK_S)

    assert admission.live == 2


def test_voices_that_come_after_a_crowd_has_left_are_not_judged_by_it() -> None:
    machine = Machine()
    admission = Admission(2, 0.9, 10_000, machine.clocks())
    admission.enter("m", 0.01, CHUNK_S)
    machine.wall_s, machine.process_s = 2.0, 4.0
    admission.recognized(CHUNK_S, CHUNK_S)
    admission.leave()

    for _ in range(10):
        admission.enter("m", 0.01, CHUNK_S)

    assert admission.live == 10
