"""Where a run computes: the mesh of devices, pmap, several processes, memory."""
