"""The paper's baseline networks, its table 3 and its figure 5."""
