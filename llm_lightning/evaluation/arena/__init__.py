"""A blind arena: people choose between two responses, and the choices become ratings.

After "Chatbot Arena" (Chiang et al. 2024): pairs are shown without names, left and right at random.
"""

from llm_lightning.evaluation.arena.arena import Arena, Pair, next_pair, open_arena, record_vote
from llm_lightning.evaluation.arena.ratings import Ratings, ratings
from llm_lightning.evaluation.arena.votes import CHOICES, Vote

__all__ = [
    "CHOICES",
    "Arena",
    "Pair",
    "Ratings",
    "Vote",
    "next_pair",
    "open_arena",
    "ratings",
    "record_vote",
]
