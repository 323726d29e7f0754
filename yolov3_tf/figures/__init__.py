"""The paper's figures and counts, drawn anew from formulas, pictures, checkpoints and finished runs."""
