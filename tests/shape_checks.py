"""The runtime type checker of tests: shapes and dtypes of tensors, and plain types."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int is a valid float
