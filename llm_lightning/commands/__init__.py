"""What people type: one file a command. With ``config`` the only room that knows Hydra."""
