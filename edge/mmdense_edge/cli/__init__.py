"""The command `mmdense`."""
