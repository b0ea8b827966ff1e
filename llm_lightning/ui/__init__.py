"""A page over run folders: watch and start runs, look at data, try, compare and vote.

What a screen shows is computed in plain modules; ``tabs/`` and ``page.py`` put it on the screen.
"""
