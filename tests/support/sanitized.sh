#!/usr/bin/env bash
# sanitized.sh <thread|address> [pytest arguments]
#
# Runs the racing tests with instrumented extensions, built apart in build/sanitized-<kind>, and writes
# tests/reports/<kind>-sanitizer.md. Fails if a test fails, if a report names one of ferrule's files, or if the planted
# fault is not reported.
#
# FT_BIN  bin directory of a venv with cython, setuptools and the test packages. For `thread` a free-threaded one; its
#         tests run under the interpreter that `freethreaded.sh --tsan` prints, which has the same ABI.
# TESTS   what to run instead of tests/stress tests/outcomes tests/aio tests/meta/test_two_threads.py.
set -euo pipefail
cd "$(dirname "$0")/../.."
kind=${1:?thread or address}
shift
bin=$(cd "${FT_BIN:?the bin directory of a venv}" && pwd)
tests=${TESTS:-tests/stress tests/outcomes tests/aio tests/meta/test_two_threads.py}
planted=tests/support/planted_race
work=$PWD/build/sanitized-$kind
logs=$work/logs

case $kind in
  thread)
    python=$(tests/support/freethreaded.sh --tsan)
    sanitizer=ThreadSanitizer fault=race symptom='data race'
    # Both options let the tests go on: neither a report nor a fork from several threads ends the process.
    environment=(TSAN_OPTIONS="log_path=$logs/report suppressions=$PWD/tests/support/thread.supp exitcode=0 die_after_fork=0")
    ;;
  address)
    python=$bin/python
    sanitizer=AddressSanitizer fault=overflow symptom=heap-buffer-overflow
    # An allocation that is too large gives NULL, as it does without the sanitizer.
    environment=(ASAN_OPTIONS="log_path=$logs/report detect_leaks=0 allocator_may_return_null=1" PYTHONMALLOC=malloc
                 LD_PRELOAD="$(g++ -print-file-name=libasan.so) $(g++ -print-file-name=libstdc++.so)")
    ;;
  *)
    echo "thread or address, not $kind" >&2
    exit 2
    ;;
esac

# Nothing compiled without the sanitizer may get in, so the build starts from the sources alone.
rm -rf "$work"
mkdir -p "$logs" tests/reports
tar --exclude='*.so' --exclude='*.cpp' --exclude=__pycache__ -c src setup.py pyproject.toml README.md LICENSE |
  tar -C "$work" -x
cp "$planted/planted.pyx" "$work"
(
  cd "$work"
  FERRULE_PROBE=1 SANITIZE=$kind "$bin/python" setup.py -q build_ext --inplace
  CFLAGS="-g -fsanitize=$kind" LDFLAGS="-fsanitize=$kind" "$bin/cythonize" -q -i planted.pyx
)

sanitized() {
  env "${environment[@]}" FERRULE_RACES=200 PYTHONPATH="$work/src:$work:$packages" "$python" "$@"
}
reports() {  # how many of them say $1
  find "$logs" -name 'report.*' -exec cat {} + |
    awk -v RS='=====+\n' -v says="$1" '/SUMMARY: .*Sanitizer: / && $0 ~ says { n++ } END { print n + 0 }'
}
packages=$("$bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')

sanitized "$planted/plant.py" "$fault" || true  # AddressSanitizer ends the process
found=$(reports "$symptom")
rm -f "$logs"/report.*

status=0
# shellcheck disable=SC2086
sanitized -m pytest -p no:cacheprovider --timeout 900 $tests "$@" | tee "$logs/pytest.txt" || status=1
ours=$(reports 'src/ferrule/')
[ "$found" -gt 0 ] || { echo "the planted $fault was not reported" >&2; status=1; }
[ "$ours" -eq 0 ] || { echo "$ours reports name ferrule's files: $logs" >&2; status=1; }

cat > "tests/reports/$kind-sanitizer.md" <<EOF
# $sanitizer

| | |
|---|---|
| Interpreter | $("$python" -c 'import sys; print(sys.version.replace("\n", " "))' 2>/dev/null) |
| Tests | $tests $* |
| Result | $(tail -n 1 "$logs/pytest.txt" | sed 's/^=* //; s/ =*$//') |
| The planted $fault | $([ "$found" -gt 0 ] && echo reported || echo '**not reported**') |
| Reports that name a file of ferrule | $ours |
| Other reports (the interpreter, other packages) | $(($(reports .) - ours)) |
EOF
exit $status
