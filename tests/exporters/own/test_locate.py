"""From `module:attribute` to the object, and what is said when it is not there."""

from pathlib import Path

import pytest
from torch import nn

from cuelight.exporters.errors import ExportError
from cuelight.exporters.own.factory import made_by
from cuelight.exporters.own.locate import locate

FILE = """
from torch import nn
from beside_it import SIZE

THREE = 3
layer = nn.Linear(2, 2)


class Net(nn.Module):
    def __init__(self, channels=1, kind="plain"):
        super().__init__()
        self.layer = nn.Linear(channels, SIZE)
        self.kind = kind


def nothing():
    return {"weights": 3}


def fails():
    raise RuntimeError("no data here")
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "beside_it.py").write_text("SIZE = 7\n")
    path = tmp_path / "own_net.py"
    path.write_text(FILE)
    return str(path)


def refused(target: str, *arguments: str) -> str:
    with pytest.raises(ExportError) as raised:
        made_by(target, arguments)
    return str(raised.value)


def test_a_file_is_imported_with_what_lies_beside_it(file: str) -> None:
    module = made_by(f"{file}:Net", ["channels=3", "kind=deep"])

    assert isinstance(module.layer, nn.Linear)
    assert (module.layer.in_features, module.layer.out_features) == (3, 7)
    assert str(module.kind) == "deep"


def test_a_module_is_imported_by_name_and_attributes_may_be_nested(file: str) -> None:
    assert locate("own_net:Net.forward") is locate("own_net:Net").forward


def test_a_module_that_is_there_already_is_taken(file: str) -> None:
    assert isinstance(made_by(f"{file}:layer"), nn.Linear)


@pytest.mark.parametrize(
    ("target", "wanted"),
    [
        ("no_such_package.net:build", 'no module "no_such_package"'),
        ("own_net:Missing", '"own_net:Missing": own_net has no "Missing"; it has'),
        ("/nowhere/net.py:build", "/nowhere/net.py: no such file"),
        (":build", "expected package.module:factory or path/to/file.py:factory"),
        ("own_net:", "expected package.module:factory"),
        ("own_net:THREE", "own_net:THREE is int, expected a callable that returns an nn.Module"),
        ("own_net:nothing", "own_net:nothing returned dict, expected an nn.Module"),
    ],
)
def test_what_is_not_there_or_no_module_is_named(file: str, target: str, wanted: str) -> None:
    assert wanted in refused(target)


def test_a_factory_that_fails_is_shown_with_its_line(file: str) -> None:
    text = refused("own_net:fails")

    assert "own_net:fails failed: RuntimeError: no data here" in text
    assert 'raise RuntimeError("no data here")' in text


def test_arguments_that_the_factory_does_not_take_are_named(file: str) -> None:
    text = refused("own_net:Net", "width=3")

    assert "own_net:Net(channels=1, kind='plain') cannot be called with width=3" in text
    assert "--factory-arg NAME=VALUE" in text


def test_a_file_that_cannot_be_imported_is_shown_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import torch\nnumber = 1 / 0\n")

    text = refused(f"{tmp_path / 'broken.py'}:build")

    assert "broken.py failed: ZeroDivisionError: division by zero" in text
    assert "broken.py:2: number = 1 / 0" in text


def test_a_package_that_a_file_needs_is_named(tmp_path: Path) -> None:
    (tmp_path / "needy.py").write_text("import no_such_thing\n")

    assert "No module named 'no_such_thing'" in refused(f"{tmp_path / 'needy.py'}:build")
