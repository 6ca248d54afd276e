"""Access control of ours: it begins with the first account."""

from __future__ import annotations

import base64
import json
import secrets

from benchlib.client import NAME, request

JSON = "application/json"


def bearer_token(port: int) -> str:
    """A token to pull with; the registry then has an account, and everybody else may still pull."""
    password = secrets.token_hex()
    settings = b'{"settings": {"anonymous_pull": true}}'
    request(port, "PATCH", f"/api/v1/repos/{NAME.partition('/')[0]}", settings, JSON).expect(200)
    user = json.dumps({"name": "admin", "password": password, "admin": True}).encode()
    request(port, "POST", "/api/v1/users", user, JSON).expect(201)
    basic = "Basic " + base64.b64encode(f"admin:{password}".encode()).decode()
    answer = request(port, "GET", f"/token?scope=repository:{NAME}:pull", authorization=basic).expect(200)
    return str(json.loads(answer.body)["token"])
