#!/usr/bin/env bash
# Builds the C++ core with the address and undefined-behaviour sanitizers in a virtual environment
# of its own and runs the kernels' tests on it. Linux with GCC or Clang. Arguments go to pytest:
# sanitize.sh --share 0/3
set -euo pipefail
cd "$(dirname "$0")/../.."

compiler="${CXX:-c++}"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet \
  --config-settings=cmake.define.PLANNER_SANITIZE=ON \
  --config-settings=cmake.define.PLANNER_WERROR=ON \
  --config-settings=build-dir="$work/build" \
  '.[test]'
cp -r tests "$work/tests"
cd "$work"

# The C++ library as well: the sanitizer has to find its throw when it starts.
preload="$("$compiler" -print-file-name=libasan.so) $("$compiler" -print-file-name=libstdc++.so)"
LD_PRELOAD="$preload" ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
  "$work/venv/bin/python" -m pytest -q -n auto -p no:cacheprovider --import-mode=importlib \
  --benchmark-disable -W error -o "markers=slow: takes more than a few seconds" \
  -m "not slow" tests/test_order_exact.py tests/test_order_climbs.py \
  tests/test_order_heuristics.py tests/test_offsets_exact.py tests/test_offsets_greedy.py \
  tests/test_offsets_shared.py tests/test_offsets_proofs.py tests/test_offsets_variants.py \
  tests/test_offsets_windows.py tests/offsets tests/in_place/test_in_place_pairs.py \
  tests/in_place/test_in_place_arena.py tests/joint/test_joint_annealing.py \
  tests/joint/test_joint_beam.py tests/joint/test_joint_eviction.py tests/joint/test_joint_exact.py \
  tests/joint/test_joint_spill_set*.py tests/game/test_game_play.py \
  tests/game/test_game_program_order.py tests/mapping/test_mapping_kernels.py \
  tests/mapping/test_mapping_agent.py tests/pipeline/test_pipeline_search_native.py \
  tests/training/test_training_evaluator.py tests/training/test_training_ladder.py "$@"
