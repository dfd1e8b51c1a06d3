"""Membership inference: how well an attack tells which real images a model was trained on, from its answers to them.

    lira(scores, member, mode="online")      # arrays: (models, examples, queries), (models, examples)
    membership(study, "store")               # the audits of a study, from its records

Scores are in ``scores``, the attacks' statistics in ``attacks``, what they reach in ``curves``, what is read from
records in ``audited``. Which trials an audit needs is said by ``realfake.shadow_models``. An attack that fails proves
nothing about another one: results say what an attack reached, and never more.
"""

from realfake.privacy.attacks import Attacked as Attacked
from realfake.privacy.attacks import lira as lira
from realfake.privacy.attacks import statistics as statistics
from realfake.privacy.audited import Membership as Membership
from realfake.privacy.audited import kept_membership as kept_membership
from realfake.privacy.audited import membership as membership
from realfake.privacy.curves import measure as measure
from realfake.privacy.scores import released_halves as released_halves
from realfake.privacy.scores import score as score
