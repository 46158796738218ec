"""Tables, pictures and pages of runs and plans, from their records; light until called."""

from ablab.report.write import plan_numbers, write_reports, write_tables

__all__ = ["plan_numbers", "write_reports", "write_tables"]
