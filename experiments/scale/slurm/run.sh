#!/usr/bin/env bash
# Three sweeps on the SLURM that setup.sh starts: all jobs, one at a time, and with a preemption and
# a time-out. From an empty folder; takes about ten minutes.
set -euo pipefail
export OMP_NUM_THREADS= LLM_LIGHTNING_OFFLINE=1 HF_HUB_OFFLINE=1
unset OMP_NUM_THREADS

slurm="hydra/launcher=slurm hydra.launcher.partition=main hydra.launcher.gpus_per_node=null
  hydra.launcher.cpus_per_task=2 hydra.launcher.mem_gb=3"
nano="model=nano model.weights=random baselines=[]"
long="$nano data.num_train=600 trainer.max_epochs=60 checkpoint_every=30s"

say() { printf '\n=== %s\n' "$*"; }

say "a sweep of two jobs"
python -m llm_lightning -m +experiment=last_block trainer=smoke $nano seed=1,2 runs_dir=sweep $slurm
grep -h threads sweep/*/*/output.txt

say "three jobs, one at a time (array_parallelism=1)"
python -m llm_lightning -m +experiment=last_block trainer=smoke $nano seed=1,2,3 runs_dir=throttled \
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

say "a job is preempted by an urgent one, and goes on"
python -m llm_lightning -m +experiment=lora $long seed=1 runs_dir=preempted $slurm \
  hydra.launcher.signal_delay_s=30 &
sweep=$!
until ls preempted/*/*/checkpoints/resume.ckpt >/dev/null 2>&1; do sleep 1; done
sbatch --partition=urgent --cpus-per-task=4 --job-name=urgent --output=urgent.txt --wrap "sleep 20"
sleep 8
squeue --format="%.10i %.10P %.14j %.10T %.10M %R"
wait $sweep
cat preempted/.submitit/*/*.out | grep -E "Caught signal|Requeued|requeue" || true
grep -hE "resuming|saved|interrupted" preempted/*/*/output.txt

say "a job runs out of its time (2 minutes, signal 90 s before), and goes on"
python -m llm_lightning -m +experiment=lora $long trainer.max_epochs=400 seed=1 runs_dir=timed_out $slurm \
  hydra.launcher.timeout_min=2 hydra.launcher.signal_delay_s=90
cat timed_out/.submitit/*/*.out | grep -E "Caught signal|timed out|Requeued" || true
grep -hE "resuming|saved|interrupted" timed_out/*/*/output.txt
