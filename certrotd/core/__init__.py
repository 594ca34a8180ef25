"""The pure core: values and decisions. No I/O, no clock, no logging, no environment."""
