"""What keeps the default Postgres from running, told to an operator."""

from __future__ import annotations

import errno
from pathlib import Path

_NOT_OURS = {errno.EACCES, errno.EPERM, errno.EROFS}
_FULL = {errno.ENOSPC, errno.EDQUOT}


class EmbeddedError(Exception):
    """The default Postgres cannot run. Its text is one line: what is wrong, and what to do about it."""


def explained(error: OSError, directory: Path) -> EmbeddedError:
    """The line for an error of the file system met while the data directory was being used."""
    what = f"{error.strerror or error}: {error.filename or directory}"
    if error.errno in _NOT_OURS:
        return EmbeddedError(
            f"data directory {directory} cannot be written ({what}): "
            "give it to the account that runs artifactapi, or choose another one"
        )
    if error.errno in _FULL:
        return EmbeddedError(f"no space left for data directory {directory} ({what}): free some, then start again")
    return EmbeddedError(f"data directory {directory} cannot be used ({what}): repair it, or choose another one")
