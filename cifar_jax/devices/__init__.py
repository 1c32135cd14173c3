"""Where a run computes: devices, processes, how examples reach them, how results are combined."""
