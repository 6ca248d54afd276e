"""The configuration of a daemon: what its options say."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from artifactapi.api.origin import Network


@dataclass(frozen=True, slots=True)
class RepoSpec:
    """A repo to be created at start."""

    name: str
    package_type: str
    repo_type: str


@dataclass(frozen=True, slots=True)
class Config:
    """What the options say; times in seconds."""

    listen: str
    workers: int
    data_dir: Path
    database_url: str | None
    database_pool: int
    s3_bucket: str | None
    s3_endpoint: str | None
    s3_region: str | None
    s3_prefix: str
    s3_redirect: bool
    threads: int
    repos: tuple[RepoSpec, ...]
    gc_interval: int
    gc_blob_grace: int
    gc_upload_grace: int
    admin_password_file: Path | None
    allow_anonymous_push: bool
    external_url: str | None
    trusted_proxies: tuple[Network, ...]
    token_seconds: int
    login_attempts: int
    audit_days: int
    secrets_dir: Path | None
    idle_timeout: int
    max_connections: int
    max_header_size: int
    header_timeout: int
    min_body_rate: int
    max_blob_size: int
    start_patience: int
    drain_seconds: int
    shutdown_grace: int
    log_format: str
