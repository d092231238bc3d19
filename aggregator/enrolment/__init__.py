"""Enrolment: devices get certificates from the fleet's own authority, renew them, and lose them when they are lost."""

from aggregator.enrolment.settings import EnrolmentSettings

__all__ = ["EnrolmentSettings"]
