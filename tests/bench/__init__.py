"""How the operator does with many Tenants, beside a controller-runtime operator that does the same work.

`python -m bench run` measures, `python -m bench publish` writes docs/benchmark.md from what was measured.
"""
