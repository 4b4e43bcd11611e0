"""Clouds: one file each, with its "invoke", its limits and its rate card."""
