"""The shell: the only place where the engine meets the ports. Here one waits."""
