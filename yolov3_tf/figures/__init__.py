"""The paper's figures and counts, drawn anew from formulas, images, checkpoints and finished runs."""
