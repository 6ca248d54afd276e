"""All of access control, made from one database."""

from __future__ import annotations

from dataclasses import dataclass

from artifactapi.access.administered import Changes
from artifactapi.access.attempts import Attempts
from artifactapi.access.discovery import Discovery
from artifactapi.access.exchange import Exchange
from artifactapi.access.grants import Grants
from artifactapi.access.identities import Identities
from artifactapi.access.issuers import Issuers
from artifactapi.access.jwks import Jwks
from artifactapi.access.keys import Keys
from artifactapi.access.login import Login
from artifactapi.access.passwords import Passwords
from artifactapi.access.policy import Policy
from artifactapi.access.rights import Layer
from artifactapi.access.signer import Signer
from artifactapi.access.tickets import Tickets
from artifactapi.access.tokens import Tokens
from artifactapi.access.users import Users
from artifactapi.metadata.database import Database
from artifactapi.threads import Threads
from artifactapi.upstream.connections import Connections


@dataclass(frozen=True, slots=True)
class Access:
    """What the API and the command line call."""

    policy: Policy
    signer: Signer
    login: Login
    tickets: Tickets
    exchange: Exchange
    issuers: Issuers
    identities: Identities
    users: Users
    tokens: Tokens
    grants: Grants
    keys: Keys

    @classmethod
    def over(
        cls,
        database: Database,
        threads: Threads,
        without_accounts: Layer,
        attempts: int,
        seconds: int,
        connections: Connections,
    ) -> Access:
        """`without_accounts`: what everybody may while there is no account; `attempts`: failed logins of an account in
        a quarter of an hour; `seconds`: how long a bearer token is good for; `connections`: to issuers."""
        policy, signer = Policy(database, without_accounts, connections.reactor), Signer(database)
        policy.follow(signer.refresh)
        changes, passwords, counted = Changes(database, policy), Passwords(threads), Attempts(database, attempts)
        login = Login(database, policy, signer, passwords, counted)
        tickets = Tickets(database, policy, signer, login, seconds)
        return cls(
            policy,
            signer,
            login,
            tickets,
            Exchange(database, tickets, counted, Jwks(Discovery(connections).read)),
            Issuers(database, changes),
            Identities(database, changes),
            Users(database, passwords, changes),
            Tokens(database, changes),
            Grants(database, changes),
            Keys(database, changes),
        )

    async def start(self) -> None:
        """Read who may what, and begin to look at changes. Raises Unavailable."""
        await self.signer.start()
        await self.policy.start()
