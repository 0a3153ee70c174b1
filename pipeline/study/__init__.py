"""What is selected, and the files that say so: params.yaml and studies/."""
