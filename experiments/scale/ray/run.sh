#!/usr/bin/env bash
# Two jobs on a Ray cluster: one that the launcher starts, and one that is there. From an empty folder.
set -euo pipefail
export LLM_LIGHTNING_OFFLINE=1 HF_HUB_OFFLINE=1
unset OMP_NUM_THREADS
# Ray gives its processes a niceness of 15, with which they wait for ever on a busy machine.
export RAY_worker_niceness=0
job="+experiment=last_block trainer=smoke model=nano model.weights=random baselines=[] hydra/launcher=ray"

echo "=== a cluster as long as the sweep"
python -m llm_lightning -m $job seed=1,2 runs_dir=own hydra.launcher.num_cpus=1
grep -h "^device" own/*/*/output.txt

echo "=== a cluster that is there; a job whose process is killed is started again"
ray start --head --num-cpus=2 --include-dashboard=false >/dev/null
trap "ray stop >/dev/null" EXIT
python -m llm_lightning -m $job seed=3 trainer.max_epochs="${EPOCHS:-20}" checkpoint_every=1 runs_dir=there \
  hydra.launcher.address=auto hydra.launcher.num_cpus=1 &
driver=$!
until ls there/*/*/checkpoints/resume.ckpt >/dev/null 2>&1; do sleep 1; done
python - <<'PYTHON'
import json
import os
import signal
from pathlib import Path

(lock,) = Path("there").glob("*/seed_3.lock")
pid = json.loads(lock.read_text())["pid"]
os.kill(pid, signal.SIGKILL)
print("killed", pid)
PYTHON
wait $driver
grep -h "resuming" there/*/*/output.txt
python -c 'import json, sys; print("ended after epochs:", json.load(open(sys.argv[1]))["epochs"])' \
  there/*/*/summary.json
