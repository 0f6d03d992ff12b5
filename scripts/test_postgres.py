#!/usr/bin/env python3
"""Starts one throw-away PostgreSQL for a run of `cargo nextest`, as its setup script.

Writes LOQUAT_TEST_DATABASE_URL (a superuser, the database `postgres`) to $NEXTEST_ENV. A watcher
outlives this script: once nextest is gone, however it went, it stops the PostgreSQL and removes its folder.
The binaries, first found: LOQUAT_POSTGRES_BIN, the newest in .deps/postgres, the system's newest from 15 on.
As root, which PostgreSQL refuses, it runs as `nobody`.
"""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from fetch import DEPS, major_of, system_postgres

# Speed over safety, because nothing here outlives the run. `synchronous_commit` stays on, so that
# commits are ordered as they are in production.
SETTINGS = {
    "listen_addresses": "",
    "max_connections": "300",
    "fsync": "off",
    "full_page_writes": "off",
    "autovacuum_naptime": "10s",
    "max_wal_size": "4GB",
    "shared_buffers": "128MB",
    "log_min_messages": "fatal",
    "log_min_error_statement": "panic",
}


def binaries():
    chosen = os.environ.get("LOQUAT_POSTGRES_BIN")
    if chosen:
        if major_of(Path(chosen, "postgres")) is None:
            sys.exit(f"LOQUAT_POSTGRES_BIN: {chosen} has no postgres that runs")
        return Path(chosen)
    fetched = [path for path in (DEPS / "postgres").glob("*/bin") if (path / "postgres").exists()]
    if fetched:
        return max(fetched, key=lambda path: int(path.parent.name))
    system = system_postgres()
    if system is None:
        sys.exit("the tests need PostgreSQL: run `scripts/fetch.py postgres`")
    return system[1]


def unprivileged():
    """What `subprocess` needs to run a program as somebody whom PostgreSQL accepts."""
    if os.geteuid() != 0:
        return {}
    somebody = pwd.getpwnam("nobody")
    return {"user": somebody.pw_uid, "group": somebody.pw_gid, "extra_groups": []}


def reachable(bin_folder, folder, who):
    """The binaries, or a copy of the fetched ones where `who` may run them."""
    try:
        subprocess.run([bin_folder / "initdb", "--version"], check=True, capture_output=True, cwd="/", **who)
        return bin_folder
    except (OSError, subprocess.CalledProcessError) as error:
        if DEPS not in bin_folder.parents:
            sys.exit(f"{bin_folder}/initdb does not run: {error}")
    copy = folder / "postgres"
    shutil.copytree(bin_folder.parent, copy, symlinks=True)
    for path in (copy, *copy.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o055 if path.is_dir() else 0o044))
    return copy / bin_folder.name


def start(folder, who):
    programs = reachable(binaries(), folder, who)
    data = folder / "data"
    log = (folder / "log").open("w")
    plain = {"cwd": folder, "stdin": subprocess.DEVNULL, "stdout": log, "stderr": log, **who}
    # The locale of the private cluster: from 17 on PostgreSQL has one of its own.
    if major_of(programs / "postgres") >= 17:
        locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
    else:
        locale = ["--locale=C.UTF-8"]
    done = subprocess.run(
        [
            programs / "initdb", "--pgdata", data, "--username=postgres", "--auth=trust",
            "--encoding=UTF8", *locale, "--no-sync", "--no-instructions",
        ],
        **plain,
    )
    if done.returncode != 0:
        sys.exit(f"initdb failed:\n{(folder / 'log').read_text()}")
    options = [f"--{name}={value}" for name, value in SETTINGS.items()]
    server = subprocess.Popen(
        [programs / "postgres", "-D", data, f"--unix_socket_directories={folder}", *options],
        start_new_session=True,
        **plain,
    )
    # The last line of postmaster.pid says "ready" once connections are accepted.
    status = data / "postmaster.pid"
    deadline = time.monotonic() + 60
    while not (status.exists() and "ready" in status.read_text()):
        if server.poll() is not None or time.monotonic() > deadline:
            sys.exit(f"PostgreSQL did not start:\n{(folder / 'log').read_text()}")
        time.sleep(0.02)
    return server


def watch(parent, server, folder):
    """Runs in a process of its own until the process `parent` is gone."""
    while alive(parent):
        time.sleep(0.5)
    server.send_signal(signal.SIGQUIT)
    server.wait()
    shutil.rmtree(folder, ignore_errors=True)


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def main():
    nextest, environment = os.getppid(), os.environ["NEXTEST_ENV"]
    who = unprivileged()
    # Not TMPDIR: a socket's path has to stay under 108 bytes.
    folder = Path(tempfile.mkdtemp(prefix="loquat-test-", dir="/tmp"))
    if who:
        os.chown(folder, who["user"], who["group"])

    # The server must be the watcher's child, so that it can wait for its end. The pipe says that
    # the server is up; it closes empty when it is not.
    ready, up = os.pipe()
    if os.fork() == 0:
        os.setsid()
        os.close(ready)
        try:
            server = start(folder, who)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        os.write(up, b"up")
        os.close(up)
        # nextest waits until nobody holds the script's output any more.
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nowhere, stream)
        watch(nextest, server, folder)
        return
    os.close(up)
    if not os.read(ready, 2):
        sys.exit(1)
    with open(environment, "a") as variables:
        variables.write(f"LOQUAT_TEST_DATABASE_URL=postgres://postgres@localhost/postgres?host={folder}\n")


if __name__ == "__main__":
    main()
