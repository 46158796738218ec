"""Reports of runs and plans, made from their records: tables, pictures, an HTML page.

Importing this package imports nothing slow (no numpy, torch, matplotlib or rich).
"""

from ablab.report.write import plan_numbers, write_reports, write_tables

__all__ = ["plan_numbers", "write_reports", "write_tables"]
