"""Which nodes stay in FP32: none if that will do, else the costliest, doubling up to half."""

from cuelight.exporters.quantize.exclusion import fewest_excluded

COSTS = {"a": 0.1, "b": 0.9, "c": 0.5, "d": 0.2, "e": 0.0, "f": 0.3}
NODES = tuple(COSTS)


def never(node: str) -> float:
    raise AssertionError(f"{node} need not have been tried alone")


def test_nothing_is_left_alone_where_nothing_has_to_be() -> None:
    assert fewest_excluded(NODES, never, lambda excluded: 0.9, least=0.9) == (((), 0.9), True)


def test_the_costliest_go_first() -> None:
    tried: list[tuple[str, ...]] = []

    def accuracy(excluded: tuple[str, ...]) -> float:
        tried.append(excluded)
        return 1.0 if {"b", "c"} <= set(excluded) else 0.0

    assert fewest_excluded(NODES, COSTS.__getitem__, accuracy, least=0.5) == ((("b", "c"), 1.0), True)
    assert tried == [(), ("b",), ("b", "c")]


def test_what_came_closest_is_told_when_half_the_nodes_are_not_enough() -> None:
    reached = {0: 0.2, 1: 0.4, 2: 0.3}

    found = fewest_excluded(NODES, COSTS.__getitem__, lambda excluded: reached[len(excluded)], least=0.5)

    assert found == ((("b",), 0.4), False)
