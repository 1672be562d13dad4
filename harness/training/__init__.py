"""Training of this project's own networks: data, losses, the loop, and what it leaves behind."""

from harness.training.loop import train
from harness.training.recipes import RECIPES, Augment, Recipe, find_recipe
from harness.training.run import Outcome, Session

__all__ = ["RECIPES", "Augment", "Outcome", "Recipe", "Session", "find_recipe", "train"]
