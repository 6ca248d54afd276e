"""Who sends a request, and whether he may do what it asks for."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from artifactapi.access.caller import Caller
from artifactapi.access.login import CredentialInvalid, Login, Origin
from artifactapi.access.policy import Policy
from artifactapi.access.rights import EVERYTHING, Right
from artifactapi.api.origin import Outside
from artifactapi.api.site import Request
from artifactapi.metadata.audit import By
from artifactapi.oci.errors import Denied, NameInvalid, NameUnknown, OciError, Unauthorized
from artifactapi.oci.names import ImageName
from artifactapi.oci.scopes import Scope
from artifactapi.registry.elsewhere import May, anyone
from artifactapi.registry.repos import read_only

SERVICE = "artifactapi"
ACTIONS = {Right.PULL: "pull", Right.PUSH: "pull,push", Right.DELETE: "delete"}


class Rule(Enum):
    """What it takes to use an address. The first three are rights to the image it names."""

    PULL = Right.PULL
    PUSH = Right.PUSH
    DELETE = Right.DELETE
    ANYONE = "anyone"  # no credential is looked at
    LOGIN = "login"  # any valid credential, where there are accounts
    CATALOG = "catalog"  # a list of what one may pull
    REPO = "repo"  # administer the repo it names
    ADMIN = "admin"  # administer everything


class Guard:
    """Between every request and its handler."""

    def __init__(self, policy: Policy, login: Login, outside: Outside) -> None:
        self._policy = policy
        self._login = login
        self._outside = outside

    async def identify(self, request: Request) -> Caller:
        """Who sends it. Raises Unauthorized, TooManyRequests, Unavailable."""
        authorization = request.requestHeaders.getRawHeaders(b"authorization")
        if not authorization:
            return self._policy.anonymous
        return self._login.known(authorization[0]) or await self._identify(request, authorization[0])

    async def _identify(self, request: Request, authorization: bytes) -> Caller:
        try:
            return await self._login.identify(authorization, self.origin(request))
        except CredentialInvalid as error:
            raise self.challenge(request, error.message, None, "invalid_token") from None

    async def refresh(self) -> None:
        """Hear of what a request here has changed: whoever sent it wants to see it now. Raises Unavailable."""
        await self._policy.refresh()

    def origin(self, request: Request) -> Origin:
        """Where it comes from."""
        return Origin(self._outside.address(request), request.request_id)

    def may_pull(self, request: Request) -> May:
        """Whether its sender may pull from a member of a virtual repo: all of them, if that has rights of its own."""
        caller: Caller = request.caller
        # One that is not known yet as virtual may have been made elsewhere, a moment ago.
        found = self._policy.naming.unions.get(request.name.repo)
        return anyone if found is not None and found.own_rights else lambda name: caller.may(Right.PULL, name)

    def registry(self, request: Request) -> str | None:
        """The registry that it is for, if that is another one, for which a repo stands: all names are behind it."""
        naming = self._policy.naming
        if not (naming.registries or naming.hosts):
            return None
        namespace = request.args.get(b"ns", [b""])[0].decode("utf-8", "replace").lower()
        return naming.registry(namespace, self._outside.host(request).lower())

    def named(self, request: Request, name: str) -> str:
        """The name that is meant: behind another registry, its repo's goes before it."""
        repo = self.repo_behind(request)
        return name if repo is None else f"{repo}/{name}"

    def repo_behind(self, request: Request) -> str | None:
        """The repo that stands for the registry that it is for, if that is another one."""
        registry = self.registry(request)
        return None if registry is None else self._policy.naming.repo_for(registry)

    def needs_nobody(self, request: Request, asked: Sequence[Scope]) -> bool:
        """Whether it is at another registry's address, for pulls alone that everybody may do from all that is meant."""
        return self.registry(request) is not None and bool(asked) and all(map(self._is_public, asked))

    def _is_public(self, scope: Scope) -> bool:
        if scope.type != "repository" or not scope.actions <= {"pull"}:
            return False
        try:
            meant = self._policy.naming.pulled_from(ImageName.parse(scope.name))
        except (NameInvalid, NameUnknown):
            return False
        return all(self._policy.anonymous.may(Right.PULL, at) for at in meant)

    def target(self, request: Request, rule: Rule) -> ImageName:
        """The image that it is about: what is written to a virtual repo goes to another one."""
        name: ImageName = request.name
        return name if rule is Rule.PULL else self._policy.naming.written_to(name) or name

    def is_for_writing(self, request: Request) -> bool:
        """Whether it is for a virtual repo that its sender may push to, and has asked to, where his token says so."""
        name, caller = request.name, request.caller
        may = name.repo in self._policy.naming.unions and self._policy.may(caller, Right.PUSH, name)
        return may and bool(caller.has_asked(Right.PUSH, name))

    def seen_as(self, request: Request, name: ImageName) -> list[ImageName]:
        """The images that its sender sees as that one; none, if it is of no virtual repo."""
        union, caller = self._policy.naming.unions.get(name.repo), request.caller
        if union is None or not (self._policy.may(caller, Right.PULL, name) and caller.has_asked(Right.PULL, name)):
            return []
        return [at for at in union.images(name.image) if union.own_rights or caller.may(Right.PULL, at)]

    def by(self, request: Request) -> By:
        """Who sends it, for the audit."""
        caller: Caller = request.caller
        return By(caller.actor, caller.credential, self._outside.address(request), request.request_id)

    def refuse_foreign(self, request: Request) -> None:
        """Raises Denied for what a page of another site lets a browser send: what it knows of us is not that page's."""
        origin = request.getHeader("origin")
        if origin is not None and origin != self._outside.base(request):
            raise Denied("a page of another site may not do this")

    def refuse_strangers(self, request: Request, caller: Caller) -> None:
        """Raises Denied where all is everybody's on this machine, for who comes here by a name from elsewhere.

        Whose name it is may let it lead here, and then his page in a browser of this machine is of no other site.
        """
        if not caller.anonymous or EVERYTHING not in caller.layers[0] or self._outside.is_own(request):
            return
        if self._policy.naming.registry("", self._outside.host(request).lower()) is None:
            raise Denied(
                "without accounts this registry is for this machine alone, as localhost: give it --external-url, if"
                " this is its name, or an administrator (artifactapi user add NAME --admin)"
            )

    async def admit(self, request: Request, rule: Rule, name: ImageName | None = None, repo: str | None = None) -> None:
        """Let it in, and know who sends it. Raises Unauthorized, Denied, NameUnknown, TooManyRequests, Unavailable."""
        if rule is Rule.ANYONE:
            return
        caller = request.caller = await self.identify(request)
        self.refuse_strangers(request, caller)
        if rule is Rule.LOGIN:
            self.require_login(request, caller)
        elif rule is Rule.CATALOG:
            self.require_catalog(request, caller)
        elif rule in (Rule.REPO, Rule.ADMIN):
            self.require_repo(request, caller, repo if rule is Rule.REPO else None)
        else:
            assert name is not None
            self.require(request, caller, Right(rule.value), name)

    def require(self, request: Request, caller: Caller, right: Right, name: ImageName) -> None:
        """Raises what the caller is told when he may not do that to the image.

        Who may not even see it is told the same, whether it is there or not.
        """
        if self._policy.may(caller, right, name):
            if not caller.has_asked(right, name):
                raise self.challenge(request, "the token is not for this", scope(right, name), "insufficient_scope")
            return
        readable = self._policy.may(caller, Right.PULL, name)
        if readable and self._policy.naming.written_to(name) is None:
            raise read_only(name.repo)
        if caller.anonymous:
            raise self.challenge(request, "authentication required", scope(right, name))
        if not readable:
            raise NameUnknown(f"no image {str(name)!r}, or no right to pull it", {"name": str(name)})
        raise Denied(f"this needs the right to {right} in {name.repo!r}", {"name": str(name), "right": right})

    def require_source(self, request: Request, name: ImageName, source: ImageName | None) -> None:
        """Raises Unauthorized for who may mount from there, if only his token were for that as well."""
        caller: Caller = request.caller
        may = source is not None and bool(source.repo) and self._policy.may(caller, Right.PULL, source)
        if source is not None and may and not caller.has_asked(Right.PULL, source):
            wanted = f"{scope(Right.PUSH, name)} {scope(Right.PULL, source)}"
            raise self.challenge(request, "the token is not for this", wanted, "insufficient_scope")

    def require_catalog(self, request: Request, caller: Caller) -> None:
        """Raises what the caller is told when he may not read the catalogue: he must have asked for it."""
        if caller.anonymous and self._policy.has_accounts and not caller.layers[0]:
            raise self.challenge(request, "authentication required", "registry:catalog:*")
        if not caller.asked_catalog:
            raise self.challenge(request, "the token is not for this", "registry:catalog:*", "insufficient_scope")

    def require_login(self, request: Request, caller: Caller) -> None:
        """Raises Unauthorized for whoever has shown nothing, where there are accounts."""
        if caller.anonymous and caller.asked is None and self._policy.has_accounts:
            raise self.challenge(request, "authentication required", None)

    def require_repo(self, request: Request, caller: Caller, repo: str | None) -> None:
        """Raises what the caller is told when he does not administer that repo; None: all there is."""
        if caller.may_repo(Right.ADMIN, repo):
            return
        if caller.anonymous:
            raise self.challenge(request, "authentication required", None)
        raise Denied("this needs the right to admin" + ("" if repo is None else f" in {repo!r}"))

    def challenge(self, request: Request, message: str, wanted: str | None, error: str | None = None) -> OciError:
        """401, with where to get a token, and for what (RFC 6750, 3)."""
        registry = self.registry(request)
        if registry is not None and wanted is not None:  # a client knows no other names than those behind it
            wanted = wanted.replace(f":{self._policy.naming.repo_for(registry)}/", ":")
        realm = f"{self._outside.base(request)}/token" + (f"?ns={registry}" if registry else "")
        parts = [f'realm="{realm}"', f'service="{SERVICE}"']
        parts += [f'scope="{wanted}"'] * (wanted is not None) + [f'error="{error}"'] * (error is not None)
        # Docker takes an error without a detail for one that may pass, and tries again for a minute.
        detail = None if wanted is None else {"scope": wanted}
        return Unauthorized(message, detail, {"WWW-Authenticate": f"Bearer {','.join(parts)}"})


def scope(right: Right, name: ImageName) -> str:
    """What to ask a token for."""
    return f"repository:{name}:{ACTIONS[right]}"
