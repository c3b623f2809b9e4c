"""Imports what a job needs after its start."""

from __future__ import annotations


def import_ahead() -> None:
    """Import Great Expectations and what draws a report, which takes seconds.

    Call this before any other thread of the job imports anything: two threads that import packages that need
    each other may each get half of one. MLflow is imported by the thread that speaks to it, and by no other.
    """
    import data_contracts.expectations  # noqa: F401 - imported for later
    import tasks.reports.report_figures  # noqa: F401 - imported for later
