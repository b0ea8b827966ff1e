"""Trained models in other libraries' formats; each export is loaded again and compared."""
