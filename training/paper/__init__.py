"""The paper's tables and its figure 5, made from the networks as they are built."""
