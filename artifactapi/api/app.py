"""The Klein application: every address this daemon has beside /v2/."""

from __future__ import annotations

from typing import Any

from klein import Klein, Response
from twisted.python.failure import Failure

from artifactapi.api.errors import from_failure
from artifactapi.api.gc import GcRoutes
from artifactapi.api.health import Health
from artifactapi.api.repos import RepoRoutes
from artifactapi.api.site import Request
from artifactapi.shield import detached


class App:
    """Addresses to handlers, all but /v2/."""

    klein = Klein()
    # Before the first rule, which copies them. Werkzeug would redirect to absolute http:// addresses.
    klein.url_map.merge_slashes = False
    klein.url_map.strict_slashes = False

    def __init__(self, repos: RepoRoutes, gc: GcRoutes, health: Health) -> None:
        self._repos = repos
        self._gc = gc
        self._health = health

    @klein.handle_errors(Exception)  # type: ignore[arg-type]  # Klein's own type has no room for a method
    def failed(self, request: Request, failure: Failure) -> Response:
        """Whatever a handler raised."""
        return from_failure(failure, request.request_id)

    @klein.route("/api/v1/repos", methods=["GET", "HEAD"])
    def repos(self, request: Request) -> Any:
        """The repos."""
        request.route = "repos"
        return self._repos.listing(request)

    @klein.route("/api/v1/repos", methods=["POST"])
    def create_repo(self, request: Request) -> Any:
        """A new repo."""
        request.route = "repos"
        return detached(self._repos.create(request))

    @klein.route("/api/v1/repos/<name>", methods=["GET", "HEAD"])
    def repo(self, request: Request, name: str) -> Any:
        """A repo."""
        request.route = "repo"
        return self._repos.read(request, name)

    @klein.route("/api/v1/repos/<name>", methods=["PATCH"])
    def change_repo(self, request: Request, name: str) -> Any:
        """Other settings for a repo."""
        request.route = "repo"
        return detached(self._repos.change(request, name))

    @klein.route("/api/v1/repos/<name>", methods=["DELETE"])
    def delete_repo(self, request: Request, name: str) -> Any:
        """The end of a repo."""
        request.route = "repo"
        return detached(self._repos.delete(request, name))

    @klein.route("/api/v1/gc", methods=["GET", "HEAD"])
    def gc(self, request: Request) -> Any:
        """The collector's state."""
        request.route = "gc"
        return self._gc.status(request)

    @klein.route("/api/v1/gc", methods=["POST"])
    def run_gc(self, request: Request) -> Any:
        """A run of the collector."""
        request.route = "gc"
        return detached(self._gc.run(request))

    @klein.route("/healthz", methods=["GET", "HEAD"])
    def healthz(self, request: Request) -> Any:
        """Alive?"""
        request.route = "healthz"
        return self._health.alive()

    @klein.route("/readyz", methods=["GET", "HEAD"])
    def readyz(self, request: Request) -> Any:
        """Ready?"""
        request.route = "readyz"
        return self._health.ready()

    @klein.route("/metrics", methods=["GET", "HEAD"])
    def metrics(self, request: Request) -> Any:
        """For Prometheus."""
        request.route = "metrics"
        return self._health.metrics()
