"""How many cases the quick tests try: few, and the same every time."""

from hypothesis import HealthCheck, settings

quick = settings(
    max_examples=20, derandomize=True, deadline=None, database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)  # fmt: skip
