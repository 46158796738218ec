"""Limits of memory beside those of the machine."""

from pathlib import Path


def memory_groups() -> list[Path]:
    """Return the folders of the control groups of this process, the innermost first.

    They are those of a container, of a job of SLURM, of a unit of systemd. Each has files
    ``memory.max`` and ``memory.current``, except for the outermost, which has no limit.
    """
    try:
        group = Path("/proc/self/cgroup").read_text().rpartition("::/")[2].strip()
    except OSError:  # as on macOS
        return []
    innermost = Path("/sys/fs/cgroup", group)
    return [innermost, *innermost.parents]
