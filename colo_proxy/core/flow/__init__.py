"""Memory: frames, flows, fragments, and what was last seen."""
