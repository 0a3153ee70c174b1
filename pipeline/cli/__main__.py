"""`python -m pipeline.cli`: the command `gantry` where it isn't installed."""

from pipeline.cli import main

if __name__ == "__main__":
    main()
