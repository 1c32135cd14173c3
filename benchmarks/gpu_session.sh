#!/usr/bin/env bash
# The most valuable measurements of 15 minutes of one GPU, in their order.
#
#   bash benchmarks/gpu_session.sh              measures
#   bash benchmarks/gpu_session.sh --dry_run    prints the commands that are left, one a line
#
# Each step is a command of `python -m benchmarks`, has a limit of time, and writes a file of its own,
# OUT/STEP.csv. A step whose file has a row is skipped, so the same command goes on where a session
# ended; a step that fails is named in OUT/steps.csv and the next one begins. What fits in no more
# time is left; the queue of runs that the record lacks has the rest of it, with folders in OUT/queue
# and rows in OUT/runs.csv. The environment chooses:
#
#   OUT         folder of the tables; default: results/gpu
#   PYTHON      interpreter with this project and PyTorch, for CUDA; default: python
#   SECONDS_LEFT  for all of it; default: 840
#   RECIPES, FAMILIES, SEEDS, MORE_SEEDS  what to measure, in order
#   OVERRIDES   of the recipes' configs; default: --config.model.dtype=bfloat16
#   TOGETHER    configs whose five seeds are trained in one program, beside one seed
#   SYSTEMS, REPEATS, TURN  of the throughput: the first system is the reference
#   QUEUE       options of `python -m benchmarks queue`; empty: without it
#   PLATFORM    cuda; cpu to try this script
#   CIFAR_JAX_DATA, CIFAR_JAX_CACHE  as always; 'warm' is the cache that a step before has filled
set -u
cd "$(dirname "$0")/.." || exit 1

OUT=${OUT:-results/gpu}
PYTHON=${PYTHON:-python}
SECONDS_LEFT=${SECONDS_LEFT:-840}
PLATFORM=${PLATFORM:-cuda}
RECIPES=${RECIPES-speedrun94 airbench94}
FAMILIES=${FAMILIES-airbench94 resnet18 vgg16 mobilenet_v2 densenet40_12 vit_tiny resnet20}
SEEDS=${SEEDS-0 1 2 3 4}
MORE_SEEDS=${MORE_SEEDS-5 6 7 8 9}
OVERRIDES=${OVERRIDES---config.model.dtype=bfloat16}
TOGETHER=${TOGETHER-lr mlp cnn_simple cnn_adv}
SYSTEMS=${SYSTEMS:-ours_bfloat16,pytorch_bfloat16,ours,pytorch}
REPEATS=${REPEATS:-5}
TURN=${TURN:-0.4}
QUEUE=${QUEUE---hardware=gpu --together=6}
SECONDS_TO_SAVE=60  # of the runs of the queue, which may be in the middle of a compilation
export JAX_PLATFORMS=$PLATFORM
[ "$PLATFORM" = cuda ] && JAX_PLATFORMS=cuda,cpu # the host initializes
export CIFAR_JAX_CACHE=${CIFAR_JAX_CACHE:-${TMPDIR:-/tmp}/cifar_jax_gpu_session}

dry_run=
case ${1-} in
  '') ;;
  --dry_run) dry_run=yes ;;
  *) echo "error: '$1' is not --dry_run, the one option" >&2; exit 2 ;;
esac
[ "$dry_run" ] || mkdir -p "$OUT" "$CIFAR_JAX_CACHE" || exit 1

has_row() { [ -f "$1" ] && [ "$(wc -l < "$1")" -ge 2 ]; }

# step NAME LIMIT VERB ARGUMENTS...: one measurement of at most LIMIT seconds.
step() {
  local name=$1 limit=$2 table=$OUT/$1.csv start=$SECONDS status
  shift 2
  has_row "$table" && return
  if [ "$dry_run" ]; then
    echo "$PYTHON -m benchmarks $* --out=$table"
    return
  fi
  if [ $((SECONDS_LEFT - SECONDS)) -lt "$limit" ]; then
    echo "$name: no time left"
    return
  fi
  echo "== $name ($((SECONDS_LEFT - SECONDS)) s left)"
  timeout --kill-after=5 "$limit" "$PYTHON" -m benchmarks "$@" "--out=$table"
  status=$?
  record "$name" "$status" "$start"
  return $status
}

# record NAME STATUS START: a line on a step that has ended.
record() {
  [ -f "$OUT/steps.csv" ] || echo 'step,status,seconds' > "$OUT/steps.csv"
  echo "$1,$2,$((SECONDS - $3))" >> "$OUT/steps.csv"
}

# seed KIND RECIPE SEED [--cold]: a training from the start of the process to its test accuracy.
seed() {
  local kind=$1 recipe=$2 number=$3
  shift 3
  # shellcheck disable=SC2086  # several words
  step "${recipe}_${kind}_$number" 60 time_to_accuracy "--config=configs/$recipe.py" --runs=1 \
    "--first_seed=$number" "$@" $OVERRIDES
}

# warm RECIPE SEEDS...: trainings that find their programs. The first on this machine compiles them.
warm() {
  local recipe=$1 number filled=$CIFAR_JAX_CACHE/filled_by_$1
  shift
  for number in "$@"; do
    if [ ! "$dry_run" ] && [ ! -f "$filled" ] && ! has_row "$OUT/${recipe}_warm_$number.csv"; then
      seed "first_$(date +%s)" "$recipe" "$number" && touch "$filled"
    fi
    seed warm "$recipe" "$number"
  done
}

# queue OPTIONS...: runs that the record lacks, for all the time that is left. It knows what is done.
queue() {
  local left=$((SECONDS_LEFT - SECONDS - SECONDS_TO_SAVE)) start=$SECONDS
  set -- queue "$@" "--minutes=$((left / 60)).$((left % 60 / 6))" "--runs=$OUT/queue" "--results=$OUT"
  if [ "$dry_run" ]; then
    echo "$PYTHON -m benchmarks $*"
  elif [ "$left" -lt 30 ]; then
    echo 'queue: no time left'
  else
    echo "== queue ($((left + SECONDS_TO_SAVE)) s left)"
    timeout --kill-after=5 $((left + SECONDS_TO_SAVE)) "$PYTHON" -m benchmarks "$@"
    record queue $? "$start"
  fi
}

# shellcheck disable=SC2086
{
  for recipe in $RECIPES; do
    warm "$recipe" $SEEDS
    seed cold "$recipe" "${SEEDS%% *}" --cold
  done
  for family in $FAMILIES; do
    step "throughput_$family" 100 throughput "--configs=$family" "--systems=$SYSTEMS" \
      "--platform=$PLATFORM" "--repeats=$REPEATS" "--seconds=$TURN"
  done
  for config in $TOGETHER; do
    step "together_$config" 60 together "--config=configs/$config.py" --seeds=5 \
      "--repeats=$REPEATS" --steps=320
  done
  for recipe in $RECIPES; do
    warm "$recipe" $MORE_SEEDS
  done
  [ "$QUEUE" ] && queue $QUEUE
}
exit 0
