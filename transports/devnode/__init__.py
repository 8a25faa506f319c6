"""Device nodes in user space: an unmodified program gets /dev/sgN for our units, by seccomp user notification."""
