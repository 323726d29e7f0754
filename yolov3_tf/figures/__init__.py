"""The paper's figures and counts, drawn from formulas, images, checkpoints and finished runs."""
