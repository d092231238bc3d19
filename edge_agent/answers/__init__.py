"""Answers in words: to a file, the broker, and programs on the device."""

from edge_agent.answers.answers import Answers
from edge_agent.answers.jsonl import JsonlFile
from edge_agent.answers.mqtt import MqttAnswers
from edge_agent.answers.ports import AnswerSink, Given
from edge_agent.answers.unix_socket import UnixSocket

__all__ = ["AnswerSink", "Answers", "Given", "JsonlFile", "MqttAnswers", "UnixSocket"]
