#!/usr/bin/env bash
# All that wants a real GPU, in at most eight minutes: the tests, compute-sanitizer, the figures.
#
#     tests/gpu.sh [FOLDER]
#
# FOLDER, else $OUT, else ./gpu-report, gets report.json and report.md, with the card, the versions,
# the date and the commit. Nothing is installed: PYTHON (python3) must have CuPy, pytest and
# hypothesis, and for the comparison PyTorch. Exit code: 0 where the tests pass, 1 where they fail or
# there is no GPU.
set -uo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
folder=${1:-${OUT:-gpu-report}}
python=${PYTHON:-python3}
export PYTHONPATH=$PWD PYTHONDONTWRITEBYTECODE=1 OPENBLAS_NUM_THREADS=1

card=$("$python" -m tinygrad_attn doctor --gpu) || exit 1
mkdir -p "$folder"
printf '%s\n' "${card#* works: }" | sed 's/, [^,]* GiB free$//' >"$folder/card.txt"
commit=$(git rev-parse --short HEAD 2>/dev/null || printf unknown)
printf '%s\n' "${COMMIT:-$commit}" >"$folder/commit.txt"

timeout 210 "$python" -m pytest -m gpu -q -p no:cacheprovider -rfE --tb=short tests \
    >"$folder/pytest.log" 2>&1
status=$?
tail -n 25 "$folder/pytest.log"
verdict=$(grep -E '[0-9]+ (passed|failed|error)' "$folder/pytest.log" | tail -n 1 | tr -d '=')
if [ "$status" -eq 124 ]; then verdict='stopped after 210 s, see pytest.log'; fi
printf '%s\n' "${verdict:-no test ran, see pytest.log}" >"$folder/tests.txt"

sanitizer='not found here'
if tool=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null); then
    timeout 50 "$tool" --error-exitcode 9 "$python" -m pytest -m gpu -q -p no:cacheprovider \
        tests/backend/test_gpu.py -k 'float16 or layer or views' >"$folder/sanitizer.log" 2>&1
    case $? in
        0) sanitizer='no errors' ;;
        9) sanitizer='found errors, see sanitizer.log' ;;
        124) sanitizer='stopped after 50 s, no errors until then' ;;
        *) sanitizer='could not run, see sanitizer.log' ;;
    esac
    if grep -q 'ERROR SUMMARY: [1-9]' "$folder/sanitizer.log"; then
        sanitizer='found errors, see sanitizer.log'
    fi
fi
printf '%s\n' "$sanitizer" >"$folder/sanitizer.txt"

timeout 74 "$python" -m benchmarks.gpu_attention "$folder"
timeout 140 "$python" -m benchmarks.gpu report "$folder"
cat "$folder/report.md"
exit $((status != 0))
