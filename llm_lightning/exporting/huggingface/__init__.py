"""Models of transformers behind the backbone protocol, in the formats of other libraries."""
