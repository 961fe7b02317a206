"""Pure decisions about cards and jobs. Standard library only: the Serve controller imports this."""
