"""Audio files: reading, what proves them whole, writing."""
