"""Whose images an equivalent is counted in, as the name of a recipe has it.

A study with several test sets has a recipe for each of them, "fpn-tiny on aerial-park", and one for each number of real
images that images of the tested domain were added to, "fpn-tiny on aerial-park in its own images beside 20". Here: such
names taken apart, and the currency in words. Not here: who names them so (`records`), sentences (`sentences`).
"""

from __future__ import annotations

from dataclasses import dataclass

OWN, ON = " in its own images beside ", " on "


@dataclass(frozen=True)
class Setting:
    """What the name of a recipe says: the recipe itself, its test set, and whether equivalents count images of it."""

    recipe: str
    test: str = ""  # "" where the study has one test set
    own: bool = False

    @property
    def currency(self) -> str:
        """What equivalents count, in words."""
        if self.own:
            return f"labelled images of {self.test}"
        return "real images of the trained domain" if self.test else "real images"

    @property
    def title(self) -> str:
        """The test set and the currency, without the recipe: the recipe where there is one test set."""
        return f"on {self.test}, in {self.currency}" if self.test else self.recipe


def setting(recipe: str) -> Setting:
    """Take the name of a recipe apart."""
    whole, own, _ = recipe.rpartition(OWN) if OWN in recipe else (recipe, "", "")
    name, on, test = whole.rpartition(ON)
    return Setting(name, test, bool(own)) if on else Setting(whole)
