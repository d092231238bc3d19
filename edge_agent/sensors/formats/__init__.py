"""What a spool file may be beside .npz: one array, lines of CSV or JSON, sound."""

from edge_agent.sensors.formats.opening import ENDINGS, FormatReader, is_whole
from edge_agent.sensors.formats.window_format import WindowFormat

__all__ = ["ENDINGS", "FormatReader", "WindowFormat", "is_whole"]
