"""The host around the proxy: interfaces, the ports they become, and whether the host can do its part."""
