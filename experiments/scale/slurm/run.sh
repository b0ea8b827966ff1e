#!/usr/bin/env bash
# On the SLURM that setup.sh starts, from an empty folder: a sweep, jobs one at a time, a preemption, a
# time-out. `run.sh CASE...` runs some of: sweep throttled preempted timed_out.
set -euo pipefail
export LLM_LIGHTNING_OFFLINE=1 HF_HUB_OFFLINE=1
unset OMP_NUM_THREADS
# Of the job that runs out of time: more than it has time for.
epochs=${EPOCHS:-3000}

slurm="hydra/launcher=slurm hydra.launcher.partition=main hydra.launcher.gpus_per_node=null
  hydra.launcher.cpus_per_task=2 hydra.launcher.mem_gb=3 hydra.launcher.timeout_min=30"
nano="trainer=smoke model=nano model.weights=random baselines=[]"
long="$nano model.n_layer=2 model.n_embd=32 model.n_head=2 checkpoint_every=5s"

say() { printf '\n=== %s\n' "$*"; }
signals() { cat "$1"/.submitit/*/*.out | grep -hE "Caught signal|timed out|Requeued" || true; }
steps() { grep -hE "resuming|interrupted|saved" "$1"/*/*/output.txt || true; }

sweep() {
  say "a sweep of two jobs"
  python -m llm_lightning -m +experiment=last_block $nano seed=1,2 runs_dir=sweep $slurm
  grep -h "^device" sweep/*/*/output.txt
}

throttled() {
  say "two jobs, one at a time (array_parallelism=1): begin and end of each"
  python -m llm_lightning -m +experiment=last_block $nano seed=3,4 runs_dir=throttled \
    $slurm hydra.launcher.array_parallelism=1
  python - <<'PYTHON'
import json
from pathlib import Path

times = sorted(
    (status["started_at"], status["updated_at"])
    for status in (json.loads(f.read_text()) for f in Path("throttled").glob("*/*/status.json"))
)
for start, end in times:
    print(start[11:19], end[11:19])
assert all(end <= start for (_, end), (start, _) in zip(times, times[1:])), "two at a time"
PYTHON
}

preempted() {
  say "a job is preempted by an urgent one, and goes on"
  python -m llm_lightning -m +experiment=lora $long trainer.max_epochs=200 seed=1 runs_dir=preempted \
    $slurm hydra.launcher.signal_delay_s=30 &
  local driver=$!
  until ls preempted/*/*/checkpoints/resume.ckpt >/dev/null 2>&1; do sleep 1; done
  sbatch --partition=urgent --cpus-per-task=4 --job-name=urgent --output=urgent.txt --wrap "sleep 15"
  sleep 10
  squeue --format="%.8i %.10P %.14j %.12T %.8M %R"
  wait $driver
  signals preempted
  steps preempted
}

timed_out() {
  say "a job runs out of its time (4 minutes, signal 90 s before), and goes on"
  python -m llm_lightning -m +experiment=lora $long trainer.max_epochs="$epochs" seed=1 \
    runs_dir=timed_out $slurm hydra.launcher.timeout_min=4 hydra.launcher.signal_delay_s=90
  signals timed_out
  steps timed_out
}

for case in ${@:-sweep throttled preempted timed_out}; do "$case"; done
