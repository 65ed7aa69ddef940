"""Which versions of a model are served."""

import pytest

from cuelight.inference.v2.model_config_pb2 import ModelVersionPolicy
from cuelight.server.inference.loader import ModelLoadError
from cuelight.server.inference.version_policy import select_versions

LATEST_2 = ModelVersionPolicy(latest=ModelVersionPolicy.Latest(num_versions=2))
ALL = ModelVersionPolicy(all=ModelVersionPolicy.All())
SPECIFIC = ModelVersionPolicy(specific=ModelVersionPolicy.Specific(versions=[3, 1]))


@pytest.mark.parametrize(
    ("policy", "available", "selected"),
    [
        (ModelVersionPolicy(), [1, 10, 9], [10]),
        (LATEST_2, [1, 10, 9], [9, 10]),
        (LATEST_2, [4], [4]),
        (ALL, [2, 1], [1, 2]),
        (SPECIFIC, [1, 2, 3], [1, 3]),
    ],
)
def test_versions_are_chosen_by_policy_and_number(
    policy: ModelVersionPolicy, available: list[int], selected: list[int]
) -> None:
    assert select_versions(policy, available, "f") == selected


@pytest.mark.parametrize(
    ("policy", "available", "says"),
    [
        (ModelVersionPolicy(), [], "no version to serve"),
        (SPECIFIC, [1, 2], 'f: field "version_policy.specific.versions": no version 3 is in the model\'s folder'),
        (ModelVersionPolicy(specific=ModelVersionPolicy.Specific()), [1], "names no version"),
        (
            ModelVersionPolicy(latest=ModelVersionPolicy.Latest()),
            [1],
            'latest.num_versions": got 0, expected 1 or more',
        ),
    ],
)
def test_a_policy_that_selects_nothing_is_an_error(policy: ModelVersionPolicy, available: list[int], says: str) -> None:
    with pytest.raises(ModelLoadError) as raised:
        select_versions(policy, available, "f")

    assert says in str(raised.value)
