"""`python -m deployments` is the `i2v` command."""

from deployments.launch import main

main()
