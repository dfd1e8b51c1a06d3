#!/bin/bash
# One study on the nodes of one Slurm job: Ray starts on all of them, the first one drives, and all ends with the study.
#   STUDY=studies/quickstart.py WHERE=cluster/shared.toml sbatch cluster/slurm.sh
# The home folder and the store of WHERE are on disks that all nodes share; realfake is installed in the environment that
# sbatch is called from. A job that was cut short (time, pre-emption) is queued again and goes on from the store.
#SBATCH --job-name=realfake
#SBATCH --nodes=2
#SBATCH --exclusive
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=4
#SBATCH --gpus-per-node=1
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail
: "${STUDY:?say which study: STUDY=studies/quickstart.py sbatch cluster/slurm.sh}"
: "${WHERE:=cluster/shared.toml}"

# The network is shared with other users, so the token is what keeps them out. It stays in a file that only you can read.
# Nodes are taken whole (--exclusive), since Ray would take another Ray on its node for its own.
umask 077
export RAY_AUTH_MODE=token
export RAY_AUTH_TOKEN_PATH="$HOME/.ray/auth_token"
[ -s "$RAY_AUTH_TOKEN_PATH" ] || ray get-auth-token --generate > /dev/null

export RAY_ENABLE_UV_RUN_RUNTIME_ENV=0 RAY_USAGE_STATS_ENABLED=0
export RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT=300
export RAY_TMPDIR="/tmp/ray-$SLURM_JOB_ID"

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
port=$((20000 + SLURM_JOB_ID % 10000))
srun --kill-on-bad-exit=1 ray symmetric-run \
    --address "$head:$port" --min-nodes "$SLURM_JOB_NUM_NODES" \
    --num-cpus "$SLURM_CPUS_PER_TASK" --num-gpus "${SLURM_GPUS_ON_NODE:-0}" \
    -- python -m realfake.arrival "$STUDY" "$WHERE"
