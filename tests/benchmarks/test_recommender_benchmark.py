"""The pure parts of benchmarks/recommender.py: its data, what it reads from programs, and how it judges goals."""

import struct
from typing import Any

import numpy as np
import pytest

from benchmarks.likes import made_up_likes
from benchmarks.pgvector import copy_rows, latencies_s
from benchmarks.recommender import without_nan
from benchmarks.recommender_calls import SPACE, nearest_requests, upserts
from benchmarks.recommender_likes import fit_lines, middle
from benchmarks.recommender_report import goals, tables
from benchmarks.vectors import DATA, DIMENSIONS, nearest, recall

ONE = {"per_s": 0.0, "p50_ms": 1.5, "p99_ms": 4.0, "failed": 0, "server_cores": 1.0, "client_cores": 0.1}


@pytest.mark.parametrize("data", DATA)
def test_vectors_are_of_unit_length_and_a_seed_tells_them(data: str) -> None:
    vectors, again, other = DATA[data](500, 1), DATA[data](500, 1), DATA[data](500, 2)

    assert vectors.shape == (500, DIMENSIONS)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-6)
    np.testing.assert_array_equal(vectors, again)
    assert not np.array_equal(vectors, other)


def test_clustered_vectors_have_nearer_neighbours_than_gaussian_ones() -> None:
    nearest_cosine = {}
    for data, make in DATA.items():
        items, queries = make(5000, 1), make(50, 2)
        nearest_cosine[data] = float(np.median((queries @ items.T).max(axis=1)))

    assert nearest_cosine["clustered"] > 0.8 > nearest_cosine["gaussian"]


def test_nearest_is_what_sorting_says_also_across_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.vectors._ROWS_AT_ONCE", 37)
    items, queries = DATA["gaussian"](100, 1), DATA["gaussian"](7, 2)

    found = nearest(items, queries, 10)

    expected = np.argsort(-(queries @ items.T), axis=1)[:, :10]
    np.testing.assert_array_equal(np.sort(found, axis=1), np.sort(expected, axis=1))


def test_recall_is_the_share_that_was_found() -> None:
    true = np.array([[1, 2, 3, 4], [5, 6, 7, 8]])

    assert recall(true, [[4, 3, 2, 1], [5, 6, 90, 91]]) == 0.75
    assert recall(true, [[], [5]]) == 0.125


def test_likes_have_the_counts_asked_for_and_no_pair_twice() -> None:
    likes = made_up_likes(users=300, items=1000, likes=20_000)

    pairs = set(zip(likes.users.tolist(), likes.items.tolist(), strict=True))
    assert len(pairs) == len(likes.users)
    assert len(likes.users) == pytest.approx(20_000, rel=0.1)
    assert set(likes.users.tolist()) == set(range(300))
    of_items = np.sort(np.bincount(likes.items, minlength=1000))[::-1]
    assert of_items[:100].sum() > of_items[-500:].sum(), "a tenth is liked more than half"


def test_rows_for_copy_are_as_postgresql_reads_them() -> None:
    """Source: PostgreSQL 16, COPY, "Tuples"; pgvector, vector_recv."""
    rows = copy_rows(np.array([[1.0, -2.5], [0.0, 3.0]], np.float32), 7)

    expected = b"".join(
        struct.pack(">hiiihhff", 2, 4, number, 12, 2, 0, *vector) for number, vector in ((7, (1, -2.5)), (8, (0, 3)))
    )
    assert rows == expected


def test_pgbench_calls_of_the_warm_up_are_left_out() -> None:
    """A call begins its latency before the time that stands in the log."""
    lines = ["0 1 500000 0 100 500000", "0 2 400000 1 101 300000", "1 1 250000 0 102 0", "0 3 100000 2 102 500000"]

    taken_s, counted_s = latencies_s(lines, 1.0)

    assert taken_s == [0.25, 0.1]
    assert counted_s == pytest.approx(1.5)


def test_fit_prints_what_the_benchmark_reads() -> None:
    printed = "943 users, 1682 items, 55375 likes, read in 0.30 s\nmodel  fit     keeps\nease   1.63 s  44.0 MiB\n"

    assert fit_lines(printed) == {"ease": {"fit_s": 1.63, "keeps_mib": 44.0}}


def test_the_middle_of_rounds_adds_up_failures() -> None:
    assert middle([{"per_s": 1, "failed": 2}, {"per_s": 5, "failed": 0}, {"per_s": 3, "failed": 1}]) == {
        "per_s": 3,
        "failed": 3,
    }
    assert middle([{"per_s": 1.0}, {"per_s": 2.0}]) == {"per_s": 1.5}


def test_what_could_not_be_measured_is_null() -> None:
    assert without_nan({"a": [1.0, float("nan"), {"b": float("nan")}], "c": "nan"}) == {
        "a": [1.0, None, {"b": None}],
        "c": "nan",
    }


def test_requests_carry_the_vectors_in_their_order() -> None:
    vectors = DATA["gaussian"](1500, 1)

    items = [item for request in upserts(vectors) for item in request.items]
    assert [item.item_id for item in items] == [str(row) for row in range(1500)]
    np.testing.assert_array_equal(np.array([item.embeddings[SPACE].values for item in items], np.float32), vectors)
    [asked] = nearest_requests(vectors[:1], exact=True)
    assert (asked.space, asked.n, asked.exact) == (SPACE, 10, True)


def vector_part(cuelight: float, pgvector: float) -> dict[str, Any]:
    systems = {"grpcio": ONE, "envoy": ONE | {"per_s": cuelight}, "pgvector": ONE | {"per_s": pgvector}}
    about = {"recall": 1.0, "exact": True, "load_s": 1.0, "memory_mib": 100.0, "ready_after_s": 0.5}
    return {
        "data": "gaussian",
        "rows": 100_000,
        "about": {
            "grpcio": about,
            "envoy": about,
            "pgvector": {"recall": 0.97, "ef_search": 40, "build_s": 9.0, "load_s": 1.0, "memory_mib": 50.0},
        },
        "calls": [{"calls": calls, "systems": systems} for calls in (1, 32)],
    }


@pytest.mark.parametrize(("cuelight", "met"), [(3000.0, True), (2999.0, False)])
def test_three_times_pgvector_is_the_goal(cuelight: float, met: bool) -> None:
    judged = goals({"vectors": [vector_part(cuelight, 1000.0)]})

    assert [(got, is_met) for _, _, got, is_met in judged] == [("1.50 ms", True), (f"{cuelight / 1000:.2f} times", met)]


@pytest.mark.parametrize(("rate", "reached", "met"), [(2000.0, 0.99, True), (1999.0, 0.99, False), (9e9, 0.98, False)])
def test_a_fast_index_that_misses_is_not_enough(rate: float, reached: float, met: bool) -> None:
    part = vector_part(rate, 1000.0)
    part["about"] = {"envoy": part["about"]["envoy"] | {"recall": reached, "exact": False}}
    part["calls"] = [{"calls": 32, "systems": {"envoy": ONE | {"per_s": rate}}}]

    [(_, _, _, is_met)] = goals({"million": [part]})

    assert is_met is met


def test_tables_have_what_the_run_has() -> None:
    machine = dict.fromkeys(("processor", "cores", "system", "python", "grpcio", "onnxruntime", "date"), "x")
    part = vector_part(4000.0, 1000.0)

    text = tables({"machine": machine, "rounds": 3, "seconds": 2.0, "load": 0.5, "vectors": [part]})

    assert "| 100,000 gaussian vectors, exact, 32 at a time, to pgvector's HNSW | 3 times | 4.00 times | yes |" in text
    assert "| Cuelight, envoy (exact) | 32 | 4,000 | **4.00** | 1.50 | 4.00 | 1.00 | 0.10 | 1.0000 | 0 |" in text
    assert "| pgvector, HNSW as it comes (ef_search 40) | 32 | 1,000 | **1.00** |" in text
    assert "MovieLens" not in text
