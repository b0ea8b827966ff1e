"""Trained models in formats that others read; each one is read again and compared."""
