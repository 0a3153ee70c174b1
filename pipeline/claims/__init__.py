"""Stage `claims`: the ancestors' claims, the tests that they name, and the verdicts."""
