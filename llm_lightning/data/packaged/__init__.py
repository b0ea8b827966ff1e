"""Small data that the package ships, so that every command runs without a network."""
