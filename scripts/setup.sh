#!/usr/bin/env bash
# Installs what the project needs into .venv, and Java with ZooKeeper from the distribution when absent.
# Arguments are further programs whose Debian package has the same name (`setup.sh wrk`).
# Safe to run again: it only adds what is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

python="${PYTHON:-python3}"
say() { printf '\033[2m%s\033[0m\n' "$*" >&2; }

"$python" - <<'PY' || { echo "ObjectQL needs Python 3.11 or newer; set PYTHON=/path/to/python3.11" >&2; exit 1; }
import sys
sys.exit(sys.version_info < (3, 11))
PY

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }
apt_install() {
  command -v apt-get >/dev/null || { echo "please install by hand: $*" >&2; exit 1; }
  say "installing $* (apt)"
  as_root apt-get -qq update
  DEBIAN_FRONTEND=noninteractive as_root apt-get -qq -y install --no-install-recommends "$@" >/dev/null
}

if [ ! -x .venv/bin/python ]; then
  "$python" -m venv .venv 2>/dev/null || { rm -rf .venv; apt_install python3-venv; "$python" -m venv .venv; }
fi
if [ ! -x .venv/bin/uv ]; then
  say "installing uv"
  .venv/bin/pip install --quiet --disable-pip-version-check uv
fi
say "installing the locked Python packages"
.venv/bin/uv pip install --quiet --python .venv/bin/python --require-hashes -r requirements.lock
members=()
for member in libs/* services/*; do [ -f "$member/pyproject.toml" ] && members+=(-e "$member"); done
.venv/bin/uv pip install --quiet --python .venv/bin/python --no-deps "${members[@]}"

missing=()
command -v java >/dev/null || missing+=(default-jre-headless)
[ -e /usr/share/java/zookeeper.jar ] || [ -n "${ZK_CLASSPATH:-}" ] || missing+=(libzookeeper-java)
for program in "$@"; do command -v "$program" >/dev/null || missing+=("$program"); done
if [ "${#missing[@]}" -gt 0 ]; then apt_install "${missing[@]}"; fi
