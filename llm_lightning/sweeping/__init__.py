"""How the runs of a sweep are chosen and started: our sweeper and launchers, as Hydra has them."""
