"""Who runs next: all cores for a lone request, a run a core where many wait, and the next batch in hand before it."""

from cuelight.server.inference.engine_pool import EnginePlan, EnginePool, Share
from tests.fakes import FakeEngine


def pool_of(cores: int, speed_up: float, paying_rows: int = 4) -> tuple[EnginePool, FakeEngine, list[FakeEngine]]:
    wide, narrow = FakeEngine(), [FakeEngine() for _ in range(cores)]
    return EnginePool(EnginePlan(tuple(narrow), wide, speed_up, paying_rows)), wide, narrow


def taken(pool: EnginePool, waiting: int) -> list[Share]:
    """Hand out shares as a batcher does until nobody should take another."""
    shares: list[Share] = []
    while waiting and (share := pool.next_share(waiting)) is not None:
        pool.take(share.engine)
        shares.append(share)
        waiting -= min(share.requests, share.rows or share.requests)
    return shares


def test_an_engine_of_its_own_takes_all_that_waits() -> None:
    engine = FakeEngine()
    pool = EnginePool(EnginePlan((engine,)))

    assert taken(pool, 100) == [Share(engine, 100, None)]
    assert pool.next_share(5) is None
    assert (pool.running, pool.may_take) == (1, False)

    pool.give_back(engine)
    assert (pool.running, pool.next_share(5)) == (0, Share(engine, 5, None))


def test_a_lone_request_gets_all_cores() -> None:
    pool, wide, _ = pool_of(2, speed_up=1.3)

    assert taken(pool, 1) == [Share(wide, 1, None)]


def test_what_waits_is_shared_among_the_cores_in_batches_that_pay() -> None:
    pool, wide, narrow = pool_of(4, speed_up=1.3, paying_rows=8)

    shares = taken(pool, 12)

    assert [(share.requests, share.rows) for share in shares] == [(3, 8)] * 4
    assert {id(share.engine) for share in shares} == {id(engine) for engine in narrow}
    assert wide not in [share.engine for share in shares]


def test_where_many_wait_an_engine_has_the_next_batch_before_it_ends_one_and_no_more_than_that() -> None:
    pool, _, narrow = pool_of(2, speed_up=1.3, paying_rows=4)

    shares = taken(pool, 32)

    assert [min(share.requests, share.rows or 0) for share in shares] == [4, 4, 4, 4]
    assert all(share.rows == 4 for share in shares)
    assert sorted(id(share.engine) for share in shares) == sorted(2 * [id(engine) for engine in narrow])
    assert (pool.running, pool.next_share(16)) == (4, None)

    pool.give_back(narrow[0])
    assert pool.next_share(16) == Share(narrow[0], 4, 4)
    assert pool.next_share(7) is None, "it would take what the other engine should have when it ends"


def test_on_few_cores_a_request_beside_a_lone_one_does_not_wait_for_it() -> None:
    pool, wide, narrow = pool_of(2, speed_up=1.3)

    [first] = taken(pool, 1)
    [second] = taken(pool, 1)

    assert first.engine is wide
    assert second.engine in narrow


def test_on_many_cores_few_requests_have_them_all_one_after_the_other() -> None:
    pool, wide, _ = pool_of(16, speed_up=8.0)

    assert taken(pool, 3) == [Share(wide, 3, None)]
    assert pool.next_share(2) is None
    assert pool.next_share(30) is None, "a run on one core would end long after the run on all of them"

    pool.give_back(wide)
    shares = taken(pool, 32)
    assert [share.requests for share in shares] == [2] * 16

    for share in shares[:15]:
        pool.give_back(share.engine)
    assert pool.next_share(2) is None, "few wait again: all cores are theirs as soon as the last run has ended"
    pool.give_back(shares[15].engine)
    assert pool.next_share(2) == Share(wide, 2, None)


def test_engines_of_a_core_alone_never_wait_for_each_other() -> None:
    narrow = (FakeEngine(), FakeEngine())
    pool = EnginePool(EnginePlan(narrow, paying_rows=2))

    assert [share.requests for share in taken(pool, 1)] == [1]
    assert [share.requests for share in taken(pool, 1)] == [1]
    assert pool.next_share(1) is None
