"""`python -m pipeline.schedule`: what `make repro` runs."""

from pipeline.schedule.repro import main

if __name__ == "__main__":
    main()
