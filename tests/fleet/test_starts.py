"""Replicas that start on an S3 server that refuses them."""

from __future__ import annotations

import pytest

from tests.daemon import eventually
from tests.fleet.fleet import Fleet
from tests.fleet.guarded import s3_proxy
from tests.seaweed import CREDENTIALS, free_ports

SECRET = "this-must-not-be-logged"


def fails(fleet: Fleet, **options: str) -> str:
    """Let a replica start; the one line that says why it could not."""
    daemon = fleet.spawn(**{"start_patience": "600", **options})
    assert daemon.wait() == 1
    text = daemon.text()
    assert "Traceback" not in text
    assert not any(secret in text for secret in (SECRET, *CREDENTIALS.values()))
    [line] = [line for line in text.splitlines() if "CRITICAL artifactapi: " in line]
    return line


def test_a_bucket_that_is_missing(fleet):
    """It is named; no patience helps."""
    assert "missing-bucket" in fails(fleet, s3_bucket="missing-bucket")


@pytest.mark.parametrize("name", CREDENTIALS)
def test_wrong_credentials(fleet, monkeypatch, name):
    """The bucket is named, and no credential."""
    monkeypatch.setenv(name, SECRET)
    assert "bucket test" in fails(fleet)


def test_no_credentials(fleet, monkeypatch, tmp_path):
    """The line says so."""
    for name in CREDENTIALS:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    assert "credentials" in fails(fleet)


def test_nobody_listens(fleet):
    """An S3 server that is not there."""
    assert "bucket test" in fails(fleet, s3_endpoint=f"http://127.0.0.1:{free_ports(1)[0]}", start_patience="0")


def test_a_server_that_comes_later(fleet):
    """A replica waits for an S3 server that is not up yet, as for a database."""
    [port] = free_ports(1)
    daemon = fleet.spawn(s3_endpoint=f"http://127.0.0.1:{port}")
    eventually(lambda: "trying again" in daemon.text())
    proxy = s3_proxy(fleet.seaweed.endpoint, port)
    try:
        assert daemon.client().send("GET", "/readyz").status == 200
    finally:
        daemon.kill()
        proxy.close()
