"""Any model of transformers behind the backbone protocol; the only place that imports it."""
