"""What model files do on this machine: seconds, memory, and how near their vectors are."""
