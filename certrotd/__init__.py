"""certrotd replaces control-plane certificates and proves that they are in use."""

__version__ = "0.1.0"
