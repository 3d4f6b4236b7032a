"""What happens, for many readers: read once, encoded once, sent to each at their pace."""

from stepwell.server.feeds.feed import Feed, Feeds, Item, Subscription

__all__ = ["Feed", "Feeds", "Item", "Subscription"]
