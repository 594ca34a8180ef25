"""From what a node runs to a configuration: flags and certificates in, commented YAML out.

Looks through the port `Node` only and writes nothing. Which flag names what comes from
`certrotd.presets`.
"""
