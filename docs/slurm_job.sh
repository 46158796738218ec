#!/bin/bash
#SBATCH --signal=USR1@120  # two minutes before the time is up: the run writes a checkpoint and ends with 138
#SBATCH --requeue
#SBATCH --open-mode=append
# One run as a SLURM job that is put back in the queue until the run is done; from the repository's root:
#   sbatch --time=1:00:00 docs/slurm_job.sh experiment=collab seed=0
folder=runs/slurm/$SLURM_JOB_ID # a requeued job keeps its number, and so finds its run
if [ -e "$folder/run.json" ]; then
  set -- task=fit "run=$folder"
else
  set -- "$@" "hydra.run.dir=$folder"
fi
srun python train.py "$@"
status=$?
if [ $status -eq 138 ]; then scontrol requeue "$SLURM_JOB_ID"; fi
exit $status
