"""Regions: a server that reports its exact sum to a parent server, as if it were one of its devices."""

from aggregator.regions.below import RegionsBelow
from aggregator.regions.link import ParentLink
from aggregator.regions.region import Region, region_subscriptions

__all__ = ["ParentLink", "Region", "RegionsBelow", "region_subscriptions"]
