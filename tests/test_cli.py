"""The commands as they are typed: `artifactapi` and `twistd artifactapi`, from the tree and installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from artifactapi import __version__
from artifactapi.cli import ACCESS, COLLECT
from artifactapi.metadata.schema import migrations
from artifactapi.tap import OPTIONS

ROOT = Path(__file__).parents[1]
COMMANDS = {
    "artifactapi": "from artifactapi.cli import main; main()",
    "twistd": "from twisted.scripts.twistd import run; run()",
}
SECONDS = 60


def run(
    command: str, *arguments: str, path: Path = ROOT, cwd: Path | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, with the package that is below `path`."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("ARTIFACTAPI_")}
    return subprocess.run(
        [sys.executable, "-c", COMMANDS[command], *arguments],
        env={**inherited, "PYTHONPATH": str(path), "COLUMNS": "1000", **variables},
        cwd=cwd or path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )


@pytest.mark.parametrize(
    "command, arguments",
    [
        ("artifactapi", ["--version"]),
        ("artifactapi", ["version"]),
        ("artifactapi", ["serve", "--version"]),
        ("twistd", ["artifactapi", "--version"]),
    ],
)
def test_the_version(command: str, arguments: list[str]):
    """Every way to ask for the version gives the project's."""
    ended = run(command, *arguments)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, f"artifactapi {__version__}\n", "")


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], []], ids=str)
def test_how_to_use_it(arguments: list[str]):
    """Without a command it says which there are."""
    ended = run("artifactapi", *arguments)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("usage: artifactapi serve [OPTIONS] ")
    for command in (*COLLECT, *ACCESS):
        assert f"\n       artifactapi {command} " in ended.stdout


@pytest.mark.parametrize(
    "command, arguments", [("artifactapi", ["serve", "--help"]), ("twistd", ["artifactapi", "--help"])]
)
def test_the_options(command: str, arguments: list[str]):
    """Both commands list every option with its variable."""
    ended = run(command, *arguments)
    assert ended.returncode == 0
    for option in OPTIONS:
        assert f"--{option.name}=" in ended.stdout
        assert f"[{option.variable};" in ended.stdout


@pytest.mark.parametrize(
    "command, arguments, variables, line",
    [
        ("artifactapi", ["push"], {}, "artifactapi: unknown command 'push'; see artifactapi --help"),
        ("artifactapi", ["--version", "x"], {}, "artifactapi: unknown command '--version'; see artifactapi --help"),
        (
            "artifactapi",
            ["serve", "--threads", "x"],
            {},
            "artifactapi: --threads: must be a whole number from 1 to 200",
        ),
        ("twistd", ["-n", "artifactapi", "-x"], {}, "artifactapi: option -x not recognized"),
        (
            "twistd",
            ["artifactapi"],
            {"ARTIFACTAPI_DATABASE_URL": "u:s3cret@host"},
            "artifactapi: ARTIFACTAPI_DATABASE_URL: not a URL like postgresql://user:password@host:5432/name",
        ),
    ],
)
def test_a_mistake(command: str, arguments: list[str], variables: dict[str, str], line: str):
    """One line on standard error, nothing on standard output, exit status 1."""
    ended = run(command, *arguments, **variables)
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", line + "\n")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `pip install .` puts into site-packages, from a copy of the tree (pip leaves a build directory behind)."""
    copy, target = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("installed")
    for name in ("setup.py", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, copy)
    for name in ("artifactapi", "twisted"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "dropin.cache"))
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    ended = subprocess.run([*command, "--target", target, copy], capture_output=True, text=True, timeout=5 * SECONDS)
    assert ended.returncode == 0, ended.stderr
    return target


def test_the_installed_command(installed: Path, tmp_path: Path):
    """`pip install .` brings the command `artifactapi`."""
    script = installed / "bin" / "artifactapi"
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    ended = subprocess.run([script, "--version"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (0, f"artifactapi {__version__}\n")


def test_the_installed_plugin(installed: Path, tmp_path: Path):
    """`pip install .` brings `twistd artifactapi`."""
    ended = run("twistd", "artifactapi", "--help", path=installed, cwd=tmp_path)
    assert ended.returncode == 0
    assert "ARTIFACTAPI_DATA_DIR" in ended.stdout


def test_the_installed_package_is_whole(installed: Path):
    """Every module and every file of the schema is installed, and nothing beside them."""

    def files(folder: Path) -> set[str]:
        return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.suffix not in ("", ".pyc")}

    assert files(installed / "artifactapi") == files(ROOT / "artifactapi")
    assert [path.name for path in (installed / "twisted").rglob("*.py")] == ["artifactapi_plugin.py"]
    assert len(list((installed / "artifactapi" / "metadata" / "schema").glob("*.sql"))) == len(migrations())
