"""Training of this project's own networks: data, losses, the loop, and its results."""

from harness.training.loop import train
from harness.training.recipes import RECIPES, Augment, Recipe, find_recipe
from harness.training.session import Session

__all__ = ["RECIPES", "Augment", "Recipe", "Session", "find_recipe", "train"]
