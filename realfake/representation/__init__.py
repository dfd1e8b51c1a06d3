"""How near what a detector sees lies to what it was trained on: train2test distance, and AP by it.

The Gaussian of training features, merged from any shards (`gaussians`), distances under every switch that papers leave
open (`mahalanobis`), the train2test distance and its ratio to what sample size alone explains (`distances`), and AP_t2t
(`closeness`) with its curve, intervals and correlation with AP (`closeness_curves`). On plain arrays, for any detector.
"""
