"""What a spool file may be beside .npz: one array, lines of CSV or JSON, sound."""

from edge_agent.sensors.formats.opening import ENDINGS, is_whole, read_file
from edge_agent.sensors.formats.window_format import WindowFormat

__all__ = ["ENDINGS", "WindowFormat", "is_whole", "read_file"]
