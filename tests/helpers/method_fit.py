"""Which shipped methods fit which task kinds, and the sentence for those that do not."""

from __future__ import annotations

SINGLE = "loss '{}' is for single_label and this data set is {}"
REFUSED = {
    **{(name, kind): SINGLE.format(name, kind)
       for name in ("dist", "dkd", "jsd", "kl", "kl_standardized", "reverse_kl")
       for kind in ("multi_label", "soft_target", "regression")},
    **{("sigmoid_kl", kind):
       f"loss 'sigmoid_kl' is for multi_label, soft_target and this data set is {kind}"
       for kind in ("single_label", "regression")},
    ("interaction", "regression"):
    "loss 'interaction' is for multi_label, single_label, soft_target and this data set is regr",
    ("msd_agreement", "regression"):
    "weighting 'agreement' is for multi_label, single_label, soft_target, not regression",
}  # fmt: skip
