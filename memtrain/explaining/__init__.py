"""Why memory is held: reasons, formulas, footprint and proof, derived from a schedule."""
