"""What to buy and what to run next, from a fit.

The cheapest mix for a target (`plans`, over `surface`, `costs`, `contours`; worded by `advice`), the trials that narrow
an interval most (`designs`, as specs: `proposals`), and studies in rounds of them (`adaptive`).
"""
