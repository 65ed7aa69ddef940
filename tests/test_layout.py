"""The layout's rules, checked on the files themselves: who owns which name, who imports whom, how long is too long."""

import ast
import importlib
import inspect
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from cuelight.server import errors
from cuelight.server.rpc.status import STATUS_OF_ERROR, StatusCode

ROOT = Path(__file__).resolve().parents[1]
SOURCE_ROOTS = tuple(ROOT / name for name in ("protos", "server", "exporters", "clients/python"))
OWNERS = {
    "server": {"server"},
    "exporters": {"exporters"},
    "clients/python": {"client"},
    "protos": {"compat", "inference", "recommender", "speech", "text", "vision"},
}
MAX_MODULE_LINES = 400
MAX_FUNCTION_LINES = 50
EMPTY_WORDS = ("Manager", "Helper", "Utils", "Handler", "Base", "Impl")

Node = ast.FunctionDef | ast.AsyncFunctionDef


def is_generated(path: Path) -> bool:
    return "_pb2" in path.name


def modules(*under: str) -> list[Path]:
    """Return the written (not generated) modules below the folders, relative to the project."""
    found = [path for folder in under for path in (ROOT / folder).rglob("*.py")]
    return sorted(
        path.relative_to(ROOT) for path in found if not is_generated(path) and "node_modules" not in path.parts
    )


SERVER = modules("server")
CODE = modules("server", "exporters", "clients/python/cuelight")
ALL = [*CODE, *modules("clients/python/examples", "tests", "benchmarks")]


def tree_of(module: Path) -> ast.Module:
    with tokenize.open(ROOT / module) as file:
        return ast.parse(file.read(), str(module))


def imports_of(module: Path) -> set[str]:
    """Return the full names a module imports, wherever in it: `a.b.c` also for `from a.b import c`."""
    names: set[str] = set()
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno}: imports are absolute"
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def breaches(module: Path, forbidden: tuple[str, ...]) -> set[str]:
    return {name for name in imports_of(module) if any(f"{name}.".startswith(f"{word}.") for word in forbidden)}


def in_package(package: str) -> list[Path]:
    return [module for module in SERVER if f"cuelight/server/{package}/" in module.as_posix()]


def test_cuelight_is_a_namespace_package() -> None:
    assert [root for root in SOURCE_ROOTS if (root / "cuelight" / "__init__.py").exists()] == []


@pytest.mark.parametrize("root", OWNERS)
def test_each_source_root_owns_its_names_and_no_other(root: str) -> None:
    present = {path.name for path in (ROOT / root / "cuelight").iterdir() if path.is_dir()} - {"__pycache__"}

    assert present <= OWNERS[root], f"{root} holds {sorted(present - OWNERS[root])}: add it to OWNERS or move it"


def test_no_name_has_two_owners() -> None:
    owned = [name for names in OWNERS.values() for name in names]

    assert len(owned) == len(set(owned))


@pytest.mark.parametrize(
    "package", ["server", "exporters", "client", "inference", "recommender", "speech", "text", "vision"]
)
def test_each_package_tells_type_checkers_that_it_is_typed(package: str) -> None:
    assert any((root / "cuelight" / package / "py.typed").is_file() for root in SOURCE_ROOTS)


@pytest.mark.parametrize("module", SERVER, ids=str)
def test_the_server_needs_no_training_stack(module: Path) -> None:
    forbidden = {"torch", "onnx", "safetensors", "cuelight.exporters", "cuelight.client", "tritonclient"}
    if module.name in {"slot_graph.py", "int8_products.py", "activation_graph.py"}:
        forbidden.remove("onnx")  # rewrites graphs; makes a graph of one node: imported when first needed

    assert breaches(module, tuple(forbidden)) == set()


def test_a_server_loads_no_library_that_only_some_models_need() -> None:
    script = "import sys, cuelight.server.app; print({'onnx', 'cryptography', 'tokenizers'} & set(sys.modules))"

    printed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout

    assert printed.strip() == "set()"


@pytest.mark.parametrize("module", modules("exporters"), ids=str)
def test_exporters_know_neither_server_nor_client(module: Path) -> None:
    assert breaches(module, ("cuelight.server", "cuelight.client", "grpc")) == set()


@pytest.mark.parametrize("module", modules("clients/python/cuelight"), ids=str)
def test_the_client_needs_the_base_install_alone(module: Path) -> None:
    forbidden = ("torch", "onnx", "onnxruntime", "cuelight.server", "cuelight.exporters", "cuelight.inference")

    assert breaches(module, forbidden) == set()


HANDLERS = [
    *in_package("inference"),
    *in_package("text"),
    *in_package("vision"),
    *(module for module in in_package("recommender") if module.name not in {"app.py", "cli.py", "serve_command.py"}),
]


@pytest.mark.parametrize("module", HANDLERS, ids=str)
def test_models_and_handlers_know_no_transport(module: Path) -> None:
    fronts = tuple(
        f"cuelight.server.rpc.{name}"
        for name in ("grpcio_front", "grpcio_server", "asgi_front", "envoy_front", "envoy_server", "wire", "framing")
    )

    assert (
        breaches(module, ("grpc", "grpc_health", "grpc_reflection", "pyvoy", "cuelight.server.app", *fronts)) == set()
    )


@pytest.mark.parametrize("module", in_package("rpc"), ids=str)
def test_rpc_knows_no_service_so_that_every_service_can_use_it(module: Path) -> None:
    services = tuple(
        f"cuelight.server.{name}" for name in ("inference", "speech", "vision", "text", "recommender", "app")
    )

    assert breaches(module, (*services, "cuelight.inference", "onnxruntime")) == set()


@pytest.mark.parametrize("module", [m for m in in_package("rpc") if not m.name.startswith("grpcio_")], ids=str)
def test_grpcio_is_known_to_its_own_front_alone(module: Path) -> None:
    assert breaches(module, ("grpc",)) == set()


@pytest.mark.parametrize("module", ALL, ids=str)
def test_a_module_has_a_docstring_and_fits_on_a_few_screens(module: Path) -> None:
    source = (ROOT / module).read_text(encoding="utf-8")

    assert len(source.splitlines()) <= MAX_MODULE_LINES
    assert not source or ast.get_docstring(tree_of(module)), f"{module} has no docstring"


@pytest.mark.parametrize("module", ALL, ids=str)
def test_a_function_fits_on_one_screen(module: Path) -> None:
    assert [f"{name}: {lines} lines" for name, lines in function_lines(module) if lines > MAX_FUNCTION_LINES] == []


def function_lines(module: Path) -> Iterator[tuple[str, int]]:
    """Yield each function with its length; its docstring and the functions inside it are left out."""
    for node in ast.walk(tree_of(module)):
        if isinstance(node, Node):
            docstring = node.body[:1] if ast.get_docstring(node) else []
            left_out = [
                *docstring,
                *(inner for inner in ast.walk(node) if isinstance(inner, Node) and inner is not node),
            ]
            yield node.name, span(node) - sum(span(inner) for inner in left_out)


def span(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


@pytest.mark.parametrize("module", CODE, ids=str)
def test_classes_are_named_after_what_they_own(module: Path) -> None:
    names = [node.name for node in ast.walk(tree_of(module)) if isinstance(node, ast.ClassDef)]

    assert [name for name in names if name.endswith(EMPTY_WORDS)] == []


@pytest.mark.parametrize("module", [m for m in CODE if m.name != "__main__.py"], ids=str)
def test_all_pins_the_public_names(module: Path) -> None:
    tree = tree_of(module)
    if all(isinstance(node, ast.Expr) for node in tree.body):
        return
    pinned = pinned_names(tree)
    assert pinned is not None, f"{module} has no __all__"
    assert sorted(pinned) == sorted(set(pinned)), "a name is pinned twice"
    defined = {node.name for node in tree.body if isinstance(node, Node | ast.ClassDef)}
    public = {name for name in defined if not name.startswith("_")}
    assert public <= set(pinned), "public, but not pinned"


def pinned_names(tree: ast.Module) -> list[str] | None:
    for node in tree.body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        if [ast.unparse(target) for target in targets] == ["__all__"]:
            assert isinstance(node, ast.Assign | ast.AnnAssign)
            return list(ast.literal_eval(node.value)) if node.value is not None else []
    return None


def test_pinned_names_exist() -> None:
    missing = []
    for module in SERVER:
        if module.name == "__main__.py":
            continue
        name = ".".join(module.with_suffix("").parts[1:]).removesuffix(".__init__")
        try:
            imported = importlib.import_module(name)
        except ModuleNotFoundError as error:
            assert (error.name or "").split(".")[0] in {"pyvoy", "envoy"}, f"{name}: {error}"
            continue
        missing += [f"{name}.{pinned}" for pinned in getattr(imported, "__all__", ()) if not hasattr(imported, pinned)]

    assert missing == []


def test_every_error_has_a_status() -> None:
    subclasses = {
        error
        for _, error in inspect.getmembers(errors, inspect.isclass)
        if issubclass(error, errors.CuelightError) and error is not errors.CuelightError
    }

    assert set(STATUS_OF_ERROR) == subclasses
    assert StatusCode.OK not in STATUS_OF_ERROR.values()


def test_errors_are_defined_in_their_one_place() -> None:
    elsewhere = [
        f"{module}: {node.name}"
        for module in SERVER
        if module.name != "errors.py"
        for node in ast.walk(tree_of(module))
        if isinstance(node, ast.ClassDef) and {ast.unparse(base) for base in node.bases} & set(errors.__all__)
    ]

    assert elsewhere == []


@pytest.mark.parametrize("module", [module for module in CODE if not module.name.startswith("envoy_")], ids=str)
def test_settings_are_read_in_their_one_place(module: Path) -> None:
    """No module reads the environment: what it needs it is given. (Envoy's launcher hands its own on to Envoy.)"""
    reads = [
        node.lineno
        for node in ast.walk(tree_of(module))
        if isinstance(node, ast.Attribute) and ast.unparse(node) in {"os.environ", "os.getenv"}
    ]

    assert reads == []
