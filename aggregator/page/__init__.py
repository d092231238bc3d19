"""The page: what operators see of a fleet in a browser, and do; served beside the API by the same process."""

from aggregator.page.application import Page, create_page

__all__ = ["Page", "create_page"]
