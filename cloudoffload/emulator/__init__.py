"""Clouds on this machine: endpoints that speak a cloud's real protocol, and end with the process that started them."""
