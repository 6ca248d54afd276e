"""The options: command line, environment, defaults, --help and the README's table are of one mind."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from twisted.python import usage

from artifactapi import __version__
from artifactapi.config import Config, RepoSpec
from artifactapi.service import Artifactapi
from artifactapi.tap import OPTIONS, Options, makeService
from artifactapi.workers.fleet import Fleet

README = Path(__file__).parents[1] / "README.md"
NAMES = [option.name for option in OPTIONS]
DEFAULTS = {
    "listen": "tcp:8000:interface=127.0.0.1",
    "workers": 1,
    "data_dir": Path.cwd() / "artifactapi-data",
    "database_url": None,
    "database_pool": 8,
    "s3_bucket": None,
    "s3_endpoint": None,
    "s3_region": None,
    "s3_prefix": "",
    "s3_redirect": False,
    "threads": 8,
    "repos": (RepoSpec("docker-internal", "docker", "local"),),
    "gc_interval": 300,
    "gc_blob_grace": 3600,
    "gc_upload_grace": 86_400,
    "admin_password_file": None,
    "allow_anonymous_push": False,
    "external_url": None,
    "trusted_proxies": (),
    "token_seconds": 900,
    "login_attempts": 20,
    "audit_days": 365,
    "secrets_dir": None,
    "idle_timeout": 60,
    "max_connections": 10_000,
    "max_header_size": 32_768,
    "header_timeout": 30,
    "min_body_rate": 128,
    "max_blob_size": 0,
    "start_patience": 60,
    "drain_seconds": 0,
    "shutdown_grace": 30,
    "log_format": "text",
}


class Parent(dict):
    """twistd's own options, as far as ours look at them."""

    def __init__(self, **given: Any) -> None:
        super().__init__(nodaemon=True, logger=None, logfile=None, syslog=False, pidfile="twistd.pid")
        self.update(given)


def options(argv: list[str], environment: Mapping[str, str] | None = None, **parent: Any) -> Options:
    """The options after parsing."""
    made = Options()
    made.environment = environment or {}
    made.parent = Parent(**parent)
    made.parseOptions(argv)
    return made


def config(*argv: str, **environment: str) -> Config:
    """What they say."""
    return options(list(argv), environment).config


def mistake(*argv: str, **environment: str) -> str:
    """The line for standard error that comes of a mistake; Python makes it exit status 1."""
    with pytest.raises(SystemExit) as refused:
        config(*argv, **environment)
    line = refused.value.code
    assert isinstance(line, str)
    assert "\n" not in line
    return line


# The tables


def test_the_defaults():
    """Without anything: the loopback interface, a directory here, an embedded Postgres."""
    assert config() == Config(**DEFAULTS)


def test_the_readme_has_every_option():
    """README's table has each option, once, in order, with its variable and its default."""
    section = README.read_text().partition("\n## Options\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `--([a-z0-9-]+)` \| `([A-Z_0-9]+)` \| (?:`([^`]*)`)? ?\|", section, re.MULTILINE)
    assert rows == [(option.name, option.variable, option.default) for option in OPTIONS]
    assert section.count("\n| `--") == len(rows)


def test_help_has_every_option():
    """--help has each option with its variable and its default, and README's meanings are not contradicted by it."""
    text = " ".join(Options().getUsage(width=1000).split())
    for option in OPTIONS:
        assert f"--{option.name}= {option.help} [{option.variable}; default: {option.default or 'none'}]" in text


@pytest.mark.parametrize("option", OPTIONS, ids=NAMES)
def test_the_variable(option):
    """An option's variable is its name."""
    assert option.variable == f"ARTIFACTAPI_{option.name.upper().replace('-', '_')}"


def test_every_option_is_part_of_the_configuration():
    """Config has a field for each option, and nothing else."""
    assert [name.replace("-", "_") for name in NAMES] == list(Config.__dataclass_fields__)


# Good values

GOOD = [
    ("listen", "tcp:0", "tcp:0"),
    ("listen", "unix:/run/artifactapi.sock", "unix:/run/artifactapi.sock"),
    ("workers", "4", 4),
    ("data-dir", "/var/lib/artifactapi", Path("/var/lib/artifactapi")),
    ("data-dir", "below", Path.cwd() / "below"),
    ("data-dir", "~/below", Path.home() / "below"),
    ("database-url", "postgresql://u:p@h/d", "postgresql://u:p@h/d"),
    ("database-url", "postgres://h/d", "postgres://h/d"),
    ("database-url", "", None),
    ("database-pool", "1", 1),
    ("database-pool", "200", 200),
    ("s3-bucket", "", None),
    ("s3-bucket", "my.bucket-1", "my.bucket-1"),
    ("s3-endpoint", "", None),
    ("s3-endpoint", "https://s3.example.org:9000/", "https://s3.example.org:9000"),
    ("s3-region", "eu-central-1", "eu-central-1"),
    ("s3-region", "", None),
    ("s3-prefix", "", ""),
    ("s3-prefix", "/", ""),
    ("s3-prefix", "registry/images/", "registry/images/"),
    ("s3-prefix", "registry", "registry/"),
    ("s3-redirect", "true", True),
    ("s3-redirect", "false", False),
    ("threads", "200", 200),
    ("repos", "", ()),
    (
        "repos",
        "a=docker:local, b-c=docker:local,",
        (RepoSpec("a", "docker", "local"), RepoSpec("b-c", "docker", "local")),
    ),
    ("gc-interval", "1000000", 1_000_000),
    ("gc-interval", "0", 0),
    ("gc-blob-grace", "0", 0),
    ("gc-upload-grace", "604800", 604_800),
    ("admin-password-file", "/run/secrets/admin", Path("/run/secrets/admin")),
    ("admin-password-file", "", None),
    ("allow-anonymous-push", "true", True),
    ("external-url", "https://registry.example.org/", "https://registry.example.org"),
    ("external-url", "http://[::1]:8000", "http://[::1]:8000"),
    ("external-url", "", None),
    ("trusted-proxies", "10.0.0.0/8, ::1,", (ip_network("10.0.0.0/8"), ip_network("::1"))),
    ("token-seconds", "60", 60),
    ("login-attempts", "0", 0),
    ("audit-days", "36500", 36_500),
    ("secrets-dir", "/run/secrets", Path("/run/secrets")),
    ("idle-timeout", "1", 1),
    ("max-connections", "0", 0),
    ("max-header-size", "1048576", 1_048_576),
    ("header-timeout", "1", 1),
    ("min-body-rate", "0", 0),
    ("max-blob-size", "1000000000000000", 10**15),
    ("start-patience", "0", 0),
    ("drain-seconds", "15", 15),
    ("shutdown-grace", "0", 0),
    ("log-format", "json", "json"),
]


@pytest.mark.parametrize("name, text, value", GOOD)
def test_a_value(name: str, text: str, value: object):
    """The same text means the same on the command line and in the environment."""
    field, variable = name.replace("-", "_"), f"ARTIFACTAPI_{name.upper().replace('-', '_')}"
    assert getattr(config(f"--{name}", text), field) == value
    assert getattr(config(f"--{name}={text}"), field) == value
    assert getattr(config(**{variable: text}), field) == value


@pytest.mark.parametrize("name, text, value", [row for row in GOOD if row[0] != "log-format"])
def test_the_command_line_comes_first(name: str, text: str, value: object):
    """An option given both ways is the command line's, even if the environment's is a mistake."""
    variable = f"ARTIFACTAPI_{name.upper().replace('-', '_')}"
    assert getattr(config(f"--{name}", text, **{variable: "\0"}), name.replace("-", "_")) == value


# Bad values

BAD = [
    ("listen", "", "not an endpoint string like tcp:8000:interface=127.0.0.1"),
    ("listen", "8000x", "not an endpoint string"),
    ("listen", "tcp:http", "not an endpoint string"),
    ("listen", "nonsense:8000", "Unknown endpoint type: 'nonsense'"),
    ("listen", "tcp:8000:colour=blue", "not an endpoint string"),
    ("listen", "ssl:0:privateKey=/nonexistent.pem", "No such file or directory: '/nonexistent.pem'"),
    ("workers", "0", "must be a whole number from 1 to 64"),
    ("data-dir", "", "not a directory's path"),
    ("data-dir", "a\0b", "not a directory's path"),
    ("data-dir", "~nobody-of-that-name/data", "not a directory's path"),
    ("database-url", "mysql://u:s3cret@h/d", "not a URL like postgresql://user:password@host:5432/name"),
    ("database-url", "host=h password=s3cret", "not a URL like"),
    ("database-url", " postgresql://u:s3cret@h/d", "not a URL like"),
    ("database-pool", "0", "must be a whole number from 1 to 200"),
    ("database-pool", "201", "must be a whole number from 1 to 200"),
    ("s3-bucket", "a/b", "not a bucket's name"),
    ("s3-endpoint", "s3.example.org", "not a URL like http://s3.example.org:8333"),
    ("s3-endpoint", "ftp://s3.example.org", "not a URL like"),
    ("s3-endpoint", "http://key:s3cret@s3.example.org", "credentials are AWS_* variables"),
    ("s3-endpoint", "http://host:99999", "not a URL like"),
    ("s3-region", "eu central", "not a region's name"),
    ("s3-prefix", "a b", "may have letters, digits"),
    ("s3-redirect", "yes", "must be true or false"),
    ("threads", "", "must be a whole number from 1 to 200"),
    ("threads", "-1", "must be a whole number"),
    ("threads", "1.5", "must be a whole number"),
    ("threads", "٣", "must be a whole number"),
    ("threads", "1_0", "must be a whole number"),
    ("threads", " 8", "must be a whole number"),
    ("threads", "9" * 5000, "must be a whole number"),
    ("repos", "docker-internal", "'docker-internal' is not like docker-internal=docker:local"),
    ("repos", "a=docker:remote", "is not like docker-internal=docker:local"),
    ("repos", "a=maven:local", "is not like docker-internal=docker:local"),
    ("repos", "a=docker:local,=docker:local", "repo"),
    ("repos", "A=docker:local", "repo"),
    ("repos", "a/b=docker:local", "repo"),
    ("repos", "a=docker:local,a=docker:local:x", "is not like docker-internal=docker:local"),
    ("repos", "a\nb", r"'a\nb' is not like docker-internal=docker:local"),
    ("gc-interval", "100000001", "must be a whole number from 0 to 100000000"),
    ("gc-blob-grace", "1h", "must be a whole number"),
    ("gc-upload-grace", "-1", "must be a whole number"),
    ("admin-password-file", "a\0b", "not a directory's path"),
    ("allow-anonymous-push", "yes", "must be true or false"),
    ("external-url", "registry.example.org", "not a URL like https://registry.example.org"),
    ("external-url", "https://registry.example.org/path", "not a URL like"),
    ("external-url", "https://user:s3cret@registry.example.org", "not a URL like"),
    ("trusted-proxies", "10.0.0.1/8", "not networks like 10.0.0.0/8"),
    ("trusted-proxies", "proxy.example.org", "not networks like 10.0.0.0/8"),
    ("token-seconds", "29", "must be a whole number from 30 to 86400"),
    ("login-attempts", "-1", "must be a whole number"),
    ("audit-days", "0", "must be a whole number from 1 to 36500"),
    ("secrets-dir", "a\0b", "not a directory's path"),
    ("idle-timeout", "86401", "must be a whole number from 1 to 86400"),
    ("max-connections", "1000001", "must be a whole number from 0 to 1000000"),
    ("max-header-size", "1023", "must be a whole number from 1024 to 1048576"),
    ("header-timeout", "0", "must be a whole number from 1 to 86400"),
    ("min-body-rate", "0.5", "must be a whole number from 0 to 1000000000"),
    ("max-blob-size", "10G", "must be a whole number from 0 to 1000000000000000"),
    ("start-patience", "86401", "must be a whole number from 0 to 86400"),
    ("drain-seconds", "0.5", "must be a whole number from 0 to 3600"),
    ("shutdown-grace", "3601", "must be a whole number from 0 to 3600"),
    ("log-format", "xml", "must be one of: text, json"),
    ("log-format", "", "must be one of: text, json"),
]


@pytest.mark.parametrize("name, text, why", BAD, ids=lambda value: value[:20].encode("unicode_escape").decode())
def test_a_mistake(name: str, text: str, why: str):
    """A bad value is one line that names the option, or the variable it came from, and keeps a password to itself."""
    variable = f"ARTIFACTAPI_{name.upper().replace('-', '_')}"
    for named, line in (
        (f"--{name}", mistake(f"--{name}", text)),
        (variable, mistake(**{variable: text})),
    ):
        assert line.startswith(f"artifactapi: {named}: ")
        assert why in line
        assert "s3cret" not in line
        assert len(line) < 300


@pytest.mark.parametrize(
    "argv, why",
    [
        (["--listen", "unix:/run/artifactapi.sock"], "--workers needs an endpoint of one of: tcp, tcp6, ssl"),
        (["--database-pool", "46"], "--workers times --database-pool may be 90 with the embedded Postgres"),
    ],
)
def test_what_workers_cannot_do(argv: list[str], why: str):
    """Options that several processes cannot follow are a mistake, and none for one process."""
    assert mistake("--workers", "2", *argv) == f"artifactapi: {why}"
    assert config("--workers", "1", *argv).workers == 1


def test_the_pool_of_workers_on_a_postgres_of_your_own():
    """How many connections that one takes is its own affair."""
    assert config("--workers", "64", "--database-pool", "200", "--database-url", "postgresql://h/d").workers == 64


def test_no_option_is_without_a_mistake():
    """The table above is whole."""
    assert {name for name, _, _ in BAD} == set(NAMES)


@pytest.mark.parametrize(
    "argv, line",
    [
        (["--nonsense"], "artifactapi: option --nonsense not recognized"),
        (["--threads"], "artifactapi: option --threads requires argument"),
        (["--data", "x"], "artifactapi: option --data not a unique prefix"),
        (["surplus"], "artifactapi: Wrong number of arguments."),
    ],
)
def test_a_command_line_that_is_none(argv: list[str], line: str):
    """What is no option is said in one line as well."""
    assert mistake(*argv) == line


# What is asked of twistd


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_the_log_in_the_foreground(log_format: str):
    """Our own observer writes the log, and no pid file of a killed daemon is in the next one's way."""
    made = options(["--log-format", log_format])
    assert made.parent["logger"] == f"artifactapi.logs.{log_format}_observer"
    assert made.parent["pidfile"] == ""


@pytest.mark.parametrize(
    "parent", [{"nodaemon": False}, {"logfile": "x.log"}, {"syslog": True}, {"logger": "my.observer"}], ids=str
)
def test_the_log_elsewhere(parent: dict[str, object]):
    """In the background, or where twistd's options say so, twistd writes it; then it cannot be JSON."""
    assert options([], **parent).parent["logger"] == parent.get("logger")
    with pytest.raises(SystemExit, match="--log-format json needs twistd -n"):
        options(["--log-format", "json"], **parent)


@pytest.mark.parametrize(
    "parent", [{"nodaemon": False}, {"logfile": "x.log"}, {"syslog": True}, {"logger": "my.observer"}], ids=str
)
def test_the_log_of_workers(parent: dict[str, object]):
    """Several processes have one log: standard output."""
    assert options(["--workers", "2"]).parent["logger"] == "artifactapi.logs.text_observer"
    with pytest.raises(SystemExit, match="--workers needs twistd -n"):
        options(["--workers", "2"], **parent)


@pytest.mark.parametrize("parent", [{"nodaemon": False}, {"pidfile": "/run/artifactapi.pid"}], ids=str)
def test_a_pid_file_that_is_wanted(parent: dict[str, object]):
    """A daemon in the background has one, and so has who asks for one."""
    wanted = parent.get("pidfile", "twistd.pid")
    assert options([], **parent).parent["pidfile"] == wanted


def test_the_service():
    """Nothing is opened before twistd has forked: the service is made, and that is all."""
    made = options(["--threads", "3"])
    service = makeService(made)
    assert isinstance(service, Artifactapi)
    assert service.config.threads == 3
    assert not service.running


def test_the_service_of_several_processes():
    """With --workers the first process serves nothing itself."""
    service = makeService(options(["--workers", "2"]))
    assert isinstance(service, Fleet)
    assert not service.running


def test_the_version(capsys: pytest.CaptureFixture[str]):
    """--version is ours, not Twisted's."""
    with pytest.raises(SystemExit) as ended:
        options(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"artifactapi {__version__}\n"
    assert issubclass(Options, usage.Options)
