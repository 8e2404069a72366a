"""Hypothesis' effort: `make check` tries fewer examples (--hypothesis-profile=check), pytest by itself the usual hundred."""

from hypothesis import settings

settings.register_profile("check", max_examples=25)
