"""What the proxy tells of itself: logs, events, counters, metrics, reports."""
