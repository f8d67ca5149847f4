"""Models: from sequences of each modality to logits, for any set of views."""
