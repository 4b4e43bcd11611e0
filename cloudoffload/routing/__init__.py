"""Where a unit runs, and why: first what rules a provider out, then which of the rest is chosen."""
