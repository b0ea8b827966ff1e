#!/usr/bin/env bash
# Starts a SLURM of one machine: Debian's packages, as root, without systemd. `setup.sh stop` ends it.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

if [ "${1:-}" = stop ]; then
  for name in slurmctld slurmd munged; do
    for file in /run/$name.pid /run/munge/$name.pid; do
      if [ -f "$file" ]; then kill "$(cat "$file")" || true; fi
    done
  done
  exit
fi

if ! command -v slurmctld >/dev/null; then
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    slurmctld slurmd slurm-client munge >/dev/null
fi

mkdir -p /etc/slurm /var/lib/slurm/ctld /var/lib/slurm/d /var/log/slurm /run/munge
[ -f /etc/munge/munge.key ] || mungekey --create
chown -R munge: /etc/munge /var/lib/munge /var/log/munge /run/munge
memory=$(awk '/MemTotal/ {print int($2 / 1024 * 0.9)}' /proc/meminfo)
sed "s/HOST/$(hostname -s)/; s/MEMORY/$memory/" "$here/slurm.conf" >/etc/slurm/slurm.conf

pgrep -x munged >/dev/null || runuser -u munge -- munged
slurmctld
slurmd
for _ in $(seq 20); do
  sinfo --noheader --format=%T | grep -q idle && break
  sleep 1
done
sinfo
