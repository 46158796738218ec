"""``ablab status FOLDER`` prints how many jobs of a plan are done, and what others came to."""

import argparse
from pathlib import Path

from ablab.report.describe import status_document
from ablab.report.documents import as_json
from ablab.report.forms.notes import failure_groups
from ablab.report.table.comparison import STATUSES, compare
from ablab.safety.commands import as_command
from ablab.safety.printable import in_a_line


@as_command
def main(arguments: list[str]) -> int:
    """Run ``ablab status``; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="ablab status", description="Print the state of the jobs of a plan, or of any runs."
    )
    parser.add_argument("folders", nargs="+", type=Path, help="a plan's folder, or folders of runs")
    parser.add_argument("--format", choices=("terminal", "json"), default="terminal")
    options = parser.parse_args(arguments)
    comparison = compare(options.folders)
    document = status_document(comparison)
    if options.format == "json":
        print(as_json(document))  # noqa: T201
        return 0
    counts = [f"{document.counts[name]} {name}" for name in STATUSES if name in document.counts]
    lines = [f"{document.title}: {', '.join(counts) or 'no jobs'}"]
    lines += [f"  {group.text}; see {group.log}" for group in failure_groups(comparison.jobs)]
    lines += [f"  running: {job.folder}" for job in document.jobs if job.status == "running"]
    print("\n".join(map(in_a_line, lines)))  # noqa: T201
    return 0
