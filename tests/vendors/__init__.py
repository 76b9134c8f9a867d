"""Every shipped kit against the simulator of its vendor."""
