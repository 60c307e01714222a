"""What is arranged in a command's process before it imports NumPy: its signals and its kernels."""
