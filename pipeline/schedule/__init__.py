"""`make repro`: which stages of the selected study are stale, and how they are run."""
