"""The screens, one a file: what is chosen, what is shown, and which function is between."""
