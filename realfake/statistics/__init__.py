"""From a table of trials to what it says: noise, fits, the choice of law, equivalents, claims, and sentences.

Needs numpy and scipy only, no torch, no Ray: a table from any experiment will do. In the order of the work: a table is
checked (`trial_table`), its noise estimated and simulated (`noise`, `counts`), a law fitted (`regression`, `fits`,
`bayes`) and chosen (`choice`), asked (`equivalence`, `inversion`, `by_class`), claims judged (`contrasts`, `claims`),
Wang's own procedure run (`wang_formula`, `matched_pairs`), slopes of scaling laws told (`lines`, `slopes`,
`class_slopes`), pools ranked (`pool_worths`, `ranks`), and all of it put into words (`sentences`, `analysis`).
"""
