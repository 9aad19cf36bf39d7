"""Front ends: what reads models, properties, weights and data."""
