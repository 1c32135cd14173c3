"""What one plays with to understand a network, without training one."""
