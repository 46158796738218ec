"""Stand-ins for SLURM's commands: they keep flags and script of each job, and run it here."""

from pathlib import Path

_COMMANDS = {
    "sbatch": """\
number=$((1 + $(ls | grep -c flags)))
printf '%s\\n' "$@" > $number.flags
cat > $number.script
log=$(sed -n 's/^--output=//p' $number.flags)
cd "$OLDPWD"
SLURM_JOB_ID=$number SLURM_JOB_NAME=plan SLURM_NTASKS=1 SLURM_PROCID=0 SLURM_LOCALID=0 \\
  setsid bash -c "bash {folder}/$number.script; echo \\$? > {folder}/$number.ended" \\
  < /dev/null >> "$log" 2>&1 &
case "$1" in --parsable) echo $number;; *) echo "Submitted batch job $number";; esac
""",
    "squeue": """\
for flags in *.flags; do
  number=${{flags%.flags}}
  if [ ! -e $number.ended ]; then
    echo "$number|RUNNING|None|$(sed -n 's/^--comment=//p' $flags)"
  fi
done
""",
    "scontrol": """\
if [ -e $3.ended ]; then state=FAILED code=$(cat $3.ended); else state=RUNNING code=0; fi
echo "JobId=$3 JobState=$state Restarts=0 ExitCode=$code:0"
""",
}


def install(folder: Path) -> None:
    """Put sbatch, squeue and scontrol into ``folder``, with ``N.flags`` and ``N.script``."""
    folder.mkdir()
    for name, text in _COMMANDS.items():
        (folder / name).write_text(f"#!/bin/bash\ncd {folder}\n{text.format(folder=folder)}")
        (folder / name).chmod(0o755)
