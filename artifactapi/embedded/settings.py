"""How the default Postgres is set up, for a small machine that it shares with the daemon."""

NAME = "artifactapi"  # of the superuser and of the database

# trust asks nobody for a password. That is safe here: there is no TCP, the socket is 0700 in a folder that is 0700, so
# that only the account which owns the data (and root) can connect at all, and that one could read the files as well.
INITDB = (
    "--auth=trust",
    f"--username={NAME}",
    "--encoding=UTF8",
    "--locale=C",
    "--data-checksums",
    "--no-instructions",
)

# On the command line, so that a cluster made by an older artifactapi has them too.
SERVER = {
    "listen_addresses": "",
    "unix_socket_directories": ".",  # relative to the cluster, so that the path's length does not matter
    "unix_socket_permissions": "0700",
    "port": "5432",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "huge_pages": "off",
    "max_parallel_workers_per_gather": "0",  # small queries; and a container's /dev/shm is small too
    "max_parallel_maintenance_workers": "0",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "restart_after_crash": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "logging_collector": "off",
    "log_destination": "stderr",
    "log_checkpoints": "off",
    "log_error_verbosity": "terse",  # without the DETAIL, which quotes the values of rows
    "log_min_error_statement": "panic",  # and without statements, for the same reason
}
