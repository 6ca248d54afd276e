"""The house of design.md: who may import whom."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "artifactapi"
# Each layer may import those to its right and itself, never back; the leaves may be imported by all.
LAYERS = (
    ("cli",),
    ("commands",),
    ("tap",),
    ("workers",),
    ("service",),
    ("daemon",),
    ("config",),
    ("api", "gc", "embedded"),
    ("registry", "access"),
    ("objects", "metadata", "upstream"),
    ("oci",),
)
LEAVES = ("threads", "shield", "metrics", "logs", "descriptors", "__init__")
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
MODULES = sorted(ROOT.rglob("*.py"))


def layer(path: Path) -> str:
    """The layer a module belongs to: its name below `artifactapi`."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(tree: ast.AST) -> set[str]:
    """Full names of all that a module imports."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_one_way(path: Path) -> None:
    """A module imports from its own layer, those right of it, and the leaves."""
    own = layer(path)
    for name in imported(ast.parse(path.read_text("utf-8"))):
        if not name.startswith("artifactapi."):
            continue
        other = name.split(".")[1]
        if other in LEAVES or other == own or name == "artifactapi.__version__":
            continue
        assert own not in LEAVES, f"{own} is a leaf and imports {name}"
        assert RANK[other] > RANK[own], f"{own} imports {name}"


@pytest.mark.parametrize(
    ("library", "owners"),
    [
        ("txpostgres", {"metadata/database.py"}),
        ("psycopg2", {"metadata/database.py", "embedded/database.py"}),
        ("twisted.internet.threads", {"threads.py"}),
        ("treq", {"upstream/connections.py"}),
    ],
)
def test_each_library_has_its_place(library: str, owners: set[str]) -> None:
    """One module imports txpostgres, one deferToThread, two ask other servers."""
    assert users_of(library) == owners


@pytest.mark.parametrize(("library", "clients"), [("klein", ()), ("twisted.web", ("upstream/",))])
def test_http_is_the_apis(library: str, clients: tuple[str, ...]) -> None:
    """The api alone serves HTTP."""
    users = users_of(library)
    assert all(any(user.startswith(place) for user in users) for place in ("api/", *clients))
    assert all(user.startswith(("api/", *clients)) for user in users), users


def users_of(library: str) -> set[str]:
    """The modules that import it."""
    return {
        str(path.relative_to(ROOT))
        for path in MODULES
        if any(
            name == library or name.startswith(library + ".") for name in imported(ast.parse(path.read_text("utf-8")))
        )
    }


def test_oci_is_pure() -> None:
    """No I/O, no Twisted in oci."""
    for path in (ROOT / "oci").rglob("*.py"):
        tops = {name.split(".")[0] for name in imported(ast.parse(path.read_text("utf-8")))}
        assert not tops & {"twisted", "klein", "txpostgres", "psycopg2", "socket", "subprocess", "asyncio"}, path


def test_no_module_is_a_drawer() -> None:
    """Names say what is inside: nothing is called utils, helpers, models, manager."""
    words = {"util", "utils", "helper", "helpers", "model", "models", "manager", "common", "misc"}
    assert not [path for path in MODULES if path.stem in words]
