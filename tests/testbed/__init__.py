"""The real servers that the tests talk to: building, starting and stopping them."""
