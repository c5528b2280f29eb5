#!/usr/bin/env bash
# Prints the path of a free-threaded interpreter: $FREETHREADED_PYTHON, else python3.13t or newer on PATH,
# else what the helper beside the checkout prints (it builds one first), else says so and fails.
# --tsan: one built with ThreadSanitizer, from $TSAN_PYTHON or the helper.
set -euo pipefail
helper=$(dirname "$0")/../../../shared/tools/freethreaded-python
if [ "${1:-}" = --tsan ]; then
  [ -n "${TSAN_PYTHON:-}" ] && { echo "$TSAN_PYTHON"; exit; }
  [ -x "$helper" ] && exec "$helper" --tsan
  echo 'no interpreter with ThreadSanitizer: set TSAN_PYTHON' >&2; exit 1
fi
[ -n "${FREETHREADED_PYTHON:-}" ] && { echo "$FREETHREADED_PYTHON"; exit; }
for minor in 15 14 13; do
  command -v "python3.${minor}t" && exit
done
[ -x "$helper" ] && exec "$helper"
echo 'no free-threaded interpreter: set FREETHREADED_PYTHON or put python3.13t on PATH' >&2; exit 1
