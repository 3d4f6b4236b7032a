"""What happens next: pure and synchronous. Nothing here waits, logs, reads a clock or draws a number."""
