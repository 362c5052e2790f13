"""Importers: other data sets' own label files become annotations, one module a format."""
