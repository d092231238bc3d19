"""Reports a conversion, for people and for programs."""

from converter.report.report import Report
from converter.report.report_html import write_html

__all__ = [
    "Report",
    "write_html",
]
