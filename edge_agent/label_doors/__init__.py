"""Labels from people and programs: every door writes a file into the spool, where it is taken up once and in turn."""

from edge_agent.label_doors.broker_labels import BrokerLabels
from edge_agent.label_doors.label_files import LabelFiles

__all__ = ["BrokerLabels", "LabelFiles"]
