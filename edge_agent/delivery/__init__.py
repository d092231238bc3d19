"""A new bundle over the air: slots, self-test, trial, roll-back. `selftest` is a program of its own."""

from edge_agent.delivery.installer import Installer
from edge_agent.delivery.messenger import Messenger
from edge_agent.delivery.pointer import FACTORY, Pointer
from edge_agent.delivery.ports import Examined, SelfTest
from edge_agent.delivery.slots import Slots, file_sha256

__all__ = [
    "FACTORY",
    "Examined",
    "Installer",
    "Messenger",
    "Pointer",
    "SelfTest",
    "Slots",
    "file_sha256",
]
