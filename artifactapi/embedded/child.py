"""A direct child of the daemon, which dies when the daemon does and whose own death is an event."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from artifactapi.embedded.account import Account
from artifactapi.embedded.errors import EmbeddedError

_PR_SET_PDEATHSIG = 1
_ENVIRONMENT = {"LC_ALL": "C", "TZ": "UTC", "PATH": os.defpath}  # the daemon's own holds secrets

# Bound before any fork: between fork and exec of a process with threads as little as possible may run.
_prctl = ctypes.CDLL(None, use_errno=True).prctl


def _dies_with(parent: int) -> Callable[[], None]:
    """Run in the child after setuid, which would clear the signal again, and before exec, which keeps it."""

    def ask() -> None:
        _prctl(_PR_SET_PDEATHSIG, int(signal.SIGINT), 0, 0, 0)
        if os.getppid() != parent:  # it died before the signal was asked for
            os._exit(1)

    return ask


@implementer(IReadDescriptor)
class Child:
    """A running program; made on the reactor's thread, since the kernel ties the death signal to the forking thread.

    The child leads a session of its own (a Ctrl-C in the daemon's terminal is not for it), gets SIGINT when the daemon
    dies, writes both its streams to `log`, and of the daemon's descriptors holds `log` and `folder` alone.
    `status` is None while it runs, then as subprocess has it: the exit code, or minus the signal that ended it.
    """

    def __init__(self, argv: Sequence[str], account: Account, log: int, folder: int, reactor: Any) -> None:
        self.status: int | None = None
        self._waiting: list[Deferred[int]] = []
        self._reactor = reactor
        try:
            self._popen = subprocess.Popen(  # noqa: S603  (programs found by binaries.py)
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", env=_ENVIRONMENT, pass_fds=(folder,),
                start_new_session=True, preexec_fn=_dies_with(os.getpid()), **account.identity(),
            )  # fmt: skip
        except (OSError, subprocess.SubprocessError) as error:
            raise EmbeddedError(f"cannot run {argv[0]} as {account.name}: {error}") from error
        self.pid = self._popen.pid
        self._watch()

    def _watch(self) -> None:
        try:
            self._pidfd = os.pidfd_open(self.pid)
        except OSError as error:
            self._popen.kill()
            self._popen.wait()
            raise EmbeddedError(f"the kernel cannot watch a process ({error}): use Linux 5.3 or later") from error
        self._reactor.addReader(self)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; nothing if it has ended."""
        self._popen.send_signal(number)

    def ended(self) -> Deferred[int]:
        """Fires with the status once the child has ended, to each who asks."""
        waiting: Deferred[int] = Deferred()
        if self.status is None:
            self._waiting.append(waiting)
        else:
            waiting.callback(self.status)
        return waiting

    def doRead(self) -> None:
        """The pidfd is readable: the child is dead and can be reaped without waiting."""
        self._reactor.removeReader(self)
        os.close(self._pidfd)
        self.status = self._popen.wait()
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(self.status)

    def fileno(self) -> int:
        """The pidfd."""
        return self._pidfd

    def logPrefix(self) -> str:
        """For the reactor's own messages."""
        return f"child {self.pid}"

    def connectionLost(self, reason: Failure) -> None:
        """The reactor is going away: nobody is left to tell."""
