"""The tests, a regular package: a namespace package would lose to any `tests` that a dependency installs."""
