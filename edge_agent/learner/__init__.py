"""Learning on the device: trainers make candidate heads, the gate decides which one serves."""
