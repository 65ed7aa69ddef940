"""The figures of a run over the recommender as tables; the plots are in `recommender_plots.py`."""

from collections.abc import Iterable, Mapping
from math import isnan
from typing import Any

from benchmarks.recommender_plots import plot
from benchmarks.report import machine_line

__all__ = ["goals", "plot", "tables"]

NAMES = {
    "grpcio": "Cuelight, grpcio",
    "envoy": "Cuelight, envoy",
    "pgvector": "pgvector, HNSW as it comes",
    "pgvector_good": "pgvector, HNSW searched further",
    "chroma": "Chroma",
}
_FRONTS = ("grpcio", "envoy")
_MODELS_AT = ((1, False), (1, True), (8, False), (32, False), (32, True))


def tables(result: Mapping[str, Any]) -> str:
    """Return the run as Markdown: goals, vectors, shelves, interactions, fits, start and memory."""
    lines = [f"{machine_line(dict(result))} Load average at the start: {result['load']:.2f}.", ""]
    lines += ["| goal | wanted | measured | met |", "|---|---|---|---|"]
    lines += [
        f"| {title} | {wanted} | {got} | {'yes' if met else '**no**'} |" for title, wanted, got, met in goals(result)
    ]
    for part in (*result.get("vectors", ()), *result.get("million", ())):
        lines += ["", *_vector_lines(part)]
    if "likes" in result:
        lines += ["", *_shelf_lines(result["likes"]), "", *_event_lines(result["likes"])]
        lines += ["", *_likes_process_lines(result["likes"])]
    if "fit" in result:
        lines += ["", *_fit_lines(result["fit"])]
    return "\n".join(lines)


def goals(result: Mapping[str, Any]) -> list[tuple[str, str, str, bool]]:
    """Return the goals that the run can judge: what, what was wanted, what came, whether it is enough.

    Of two fronts the better one counts. Source of the goals: the issue that asks for the recommender, "Speed".
    """
    found: list[tuple[str, str, str, bool]] = []
    for part in result.get("vectors", ()):
        found += _vector_goals(part)
    for part in result.get("million", ()):
        rate, good = _best(part, 32), max(about["recall"] for name, about in part["about"].items() if name in _FRONTS)
        title = f"{part['rows']:,} {part['data']} vectors, 32 at a time, recall"
        found.append((title, "2,000/s at 0.99", f"{rate:,.0f}/s at {good:.4f}", rate >= 2000 and good >= 0.99))
    if "likes" in result:
        found += _likes_goals(result["likes"])
    if "fit" in result:
        taken_s = result["fit"]["all_s"]
        found.append(("MovieLens 100K, every classical model fitted", "10 s", f"{taken_s:.1f} s", taken_s < 10))
    return found


def _vector_goals(part: Mapping[str, Any]) -> list[tuple[str, str, str, bool]]:
    title = f"{part['rows']:,} {part['data']} vectors, exact, "
    p50_ms = min(one["p50_ms"] for one in _own(part, 1).values())
    found = [(f"{title}1 at a time, p50", "2 ms", f"{p50_ms:.2f} ms", p50_ms < 2)]
    peer = part["calls"][-1]["systems"].get("pgvector")
    if peer is not None:
        ratio = _best(part, 32) / peer["per_s"]
        found.append((f"{title}32 at a time, to pgvector's HNSW", "3 times", f"{ratio:.2f} times", ratio >= 3))
    return found


def _likes_goals(likes: Mapping[str, Any]) -> list[tuple[str, str, str, bool]]:
    shelf = next(one for one in likes["shelves"] if (one["model"], one["calls"], one["explain"]) == ("ease", 1, False))
    p50_ms = min(one["p50_ms"] for one in shelf["systems"].values())
    known_ms = min(one["inverse_knows"]["p50_ms"] for one in likes["absorbed"].values())
    single, _, batches, _ = likes["sustained"]
    per_s = [max(one[front]["events_per_s"] for front in _FRONTS) for one in (single, batches)]
    return [
        ("EASE, 1 at a time, p50", "1 ms", f"{p50_ms:.2f} ms", p50_ms < 1),
        ("an interaction absorbed: store, counts, inverse, p50", "50 ms", f"{known_ms:.1f} ms", known_ms < 50),
        ("interactions sustained, 64 calls of one", "1,000/s", f"{per_s[0]:,.0f}/s", per_s[0] >= 1000),
        ("interactions sustained, one stream of batches", "1,000/s", f"{per_s[1]:,.0f}/s", per_s[1] >= 1000),
    ]


def _own(part: Mapping[str, Any], calls: int) -> dict[str, Mapping[str, float]]:
    systems = next(one["systems"] for one in part["calls"] if one["calls"] == calls)
    return {name: systems[name] for name in _FRONTS if name in systems}


def _best(part: Mapping[str, Any], calls: int) -> float:
    return max(one["per_s"] for one in _own(part, calls).values())


def _vector_lines(part: Mapping[str, Any]) -> list[str]:
    present = [name for name in NAMES if name in part["about"]]
    lines = [
        f"| {part['rows']:,} vectors of 64, {part['data']} | at a time | queries/s | to pgvector as it comes "
        "| p50 ms | p99 ms | server, cores | load generator, cores | recall@10 | failed |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for calls in part["calls"]:
        peer = calls["systems"].get("pgvector")
        for name in present:
            one = calls["systems"][name]
            ratio = f"**{one['per_s'] / peer['per_s']:.2f}**" if peer else ""
            lines.append(
                f"| {_named(name, part['about'][name])} | {calls['calls']} | {one['per_s']:,.0f} | {ratio} "
                f"| {one['p50_ms']:.2f} | {one['p99_ms']:.2f} | {one['server_cores']:.2f} | {one['client_cores']:.2f} "
                f"| {part['about'][name]['recall']:.4f} | {one['failed']:.0f} |"
            )
    lines += ["", "| | loaded in, s | index built in, s | start to ready, s | memory, MiB |", "|---|--:|--:|--:|--:|"]
    for name in present:
        if name == "pgvector_good":
            continue
        about = part["about"][name]
        cells = [_cell(about, key, form) for key, form in _LOAD_CELLS]
        lines.append(f"| {_PROCESS_NAMES.get(name, NAMES[name])} | {' | '.join(cells)} |")
    if "exact_one_at_a_time" in part:
        exact = part["exact_one_at_a_time"]
        lines += ["", f"With `exact`, one at a time: p50 {exact['p50_ms']:.1f} ms, p99 {exact['p99_ms']:.1f} ms."]
    return lines


_PROCESS_NAMES = {"pgvector": "pgvector (memory: table and index, which the shared buffers hold)"}
_LOAD_CELLS = (("load_s", ".1f"), ("build_s", ".1f"), ("ready_after_s", ".1f"), ("memory_mib", ",.0f"))


def _named(name: str, about: Mapping[str, Any]) -> str:
    if "ef_search" in about:
        return f"{NAMES[name]} (ef_search {about['ef_search']})"
    if name in _FRONTS:
        return f"{NAMES[name]} ({'exact' if about['exact'] else 'index'})"
    return NAMES[name]


def _cell(figures: Mapping[str, Any], key: str, form: str) -> str:
    return format(figures[key], form) if key in figures else ""


def _shelf_lines(likes: Mapping[str, Any]) -> list[str]:
    found = {(one["model"], one["calls"], one["explain"]): one["systems"] for one in likes["shelves"]}
    lines = [
        f"| shelves of {likes['items']:,} items (grpcio, envoy) | 1 at a time, p50 ms | p99 ms "
        "| 1, with reasons, p50 ms | 8 at a time, /s | 32 at a time, /s | 32, with reasons, /s | failed |",
        "|---|---|---|---|---|---|---|--:|",
    ]
    for model in dict.fromkeys(one["model"] for one in likes["shelves"]):
        alone, alone_why, eight, many, many_why = (found[model, *at] for at in _MODELS_AT)
        cells = (
            _pair(alone, "p50_ms", ".2f"),
            _pair(alone, "p99_ms", ".2f"),
            _pair(alone_why, "p50_ms", ".2f"),
            *(_pair(one, "per_s", ",.0f") for one in (eight, many, many_why)),
        )
        failed = sum(system["failed"] for at in _MODELS_AT for system in found[model, *at].values())
        lines.append(f"| `{model}` | {' | '.join(cells)} | {failed:.0f} |")
    return lines


def _pair(systems: Mapping[str, Mapping[str, float]], key: str, form: str) -> str:
    return ", ".join(_known(systems[front][key], form) for front in _FRONTS)


def _known(value: float, form: str) -> str:
    return "none" if isnan(value) else format(value, form)


def _event_lines(likes: Mapping[str, Any]) -> list[str]:
    absorbed = likes["absorbed"]
    lines = [
        "| one interaction at a time (grpcio, envoy) | p50 ms | p99 ms | longest ms |",
        "|---|---|---|---|",
    ]
    for key, title in (("acknowledged", "on the disk and counted"), ("inverse_knows", "and EASE's inverse knows it")):
        cells = [_pair({front: absorbed[front][key] for front in _FRONTS}, one, ".1f") for one in _LATENCIES]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    lines += [
        "",
        "| interactions, and EASE's shelves meanwhile (grpcio, envoy) | events/s | a call, p50 ms | p99 ms "
        "| shelf, p50 ms | p99 ms | longest ms | server, cores | the inverse knows all after, ms | failed |",
        "|---|---|---|---|---|---|---|---|---|--:|",
    ]
    lines += [_sustained_row(one) for one in likes["sustained"]]
    return lines


_LATENCIES = ("p50_ms", "p99_ms", "longest_ms")


def _sustained_row(one: Mapping[str, Any]) -> str:
    told = "event_p50_ms" in one["grpcio"]
    cells: list[str] = [_pair(one, "events_per_s", ",.0f") if told else ""]
    cells += [_pair(one, f"event_{key}", ".1f") if told else "" for key in _LATENCIES[:2]]
    cells += [_pair(one, f"shelf_{key}", ".2f") for key in _LATENCIES]
    cells.append(_pair(one, "server_cores", ".2f"))
    cells.append(", ".join(f"{one[front]['catch_up_s'] * 1000:.0f}" for front in _FRONTS) if told else "")
    failed = sum(one[front].get(key, 0) for front in _FRONTS for key in ("event_failed", "shelf_failed"))
    return f"| {one['how']} | {' | '.join(cells)} | {failed:.0f} |"


def _likes_process_lines(likes: Mapping[str, Any]) -> list[str]:
    title = f"{likes['users']:,} users, {likes['items']:,} items, {likes['likes']:,} likes"
    return [
        f"Import of {title}: {likes['import_s']:.1f} s, {likes['likes'] / likes['import_s']:,.0f} likes/s.",
        "",
        f"| {title} | start to ready, s | memory, every model fitted, MiB | after the run, MiB |",
        "|---|--:|--:|--:|",
        *(
            f"| {NAMES[front]} | {likes['ready_after_s'][front]:.1f} | {likes['memory_mib'][front]:,.0f} "
            f"| {likes['memory_after_mib'][front]:,.0f} |"
            for front in _FRONTS
        ),
    ]


def _fit_lines(fit: Mapping[str, Any]) -> list[str]:
    return [
        "| MovieLens 100K | fitted in, s | keeps, MiB |",
        "|---|--:|--:|",
        *(f"| `{name}` | {one['fit_s']:.2f} | {one['keeps_mib']:.1f} |" for name, one in fit["models"].items()),
        f"| all together | {fit['all_s']:.2f} | |",
        "",
        "| MovieLens 100K | start to ready, s | memory, every model fitted, MiB |",
        "|---|--:|--:|",
        *_served_rows(fit["served"].items()),
    ]


def _served_rows(served: Iterable[tuple[str, Mapping[str, float]]]) -> Iterable[str]:
    for front, one in served:
        yield f"| {NAMES[front]} | {one['ready_after_s']:.1f} | {one['memory_mib']:,.0f} |"
