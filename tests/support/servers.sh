#!/usr/bin/env bash
# Installs the servers that the tests marked `services` start: Debian's redis-server, redis-tools and postgresql.
# Where that cannot be (no apt-get, not root and no sudo, no package), it says so and ends well: those tests skip.
set -euo pipefail

present() {
  command -v redis-server && command -v redis-benchmark && compgen -G '/usr/lib/postgresql/*/bin/initdb'
} >/dev/null

present && exit
as_root=(env DEBIAN_FRONTEND=noninteractive)
if [ "$(id -u)" != 0 ]; then
  as_root=(sudo -n "${as_root[@]}")
fi
install() {
  timeout 300 "${as_root[@]}" apt-get install -y -qq --no-install-recommends redis-server redis-tools postgresql
} >/dev/null 2>&1

if "${as_root[@]}" true 2>/dev/null && command -v apt-get >/dev/null; then
  install || { timeout 120 "${as_root[@]}" apt-get update -qq && install; } || true
fi
present || echo 'redis-server and postgresql cannot be installed here: the tests that need them are skipped' >&2
