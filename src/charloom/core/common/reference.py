"""The published figures of the reference run: a plain cell with m = 100 and K = 80, on a novel of 1.1 MB."""

REFERENCE = {
    "W": (3.06e-7, 5.36e-6),
    "V": (4.11e-7, 2.71e-6),
    "U": (2.34e-7, 2.71e-8),
    "b": (2.1e-8, 4.11e-8),
    "c": (3.1e-8, 2.48e-9),
}
"""The reference run's central difference: absolute and relative error, largest of each tensor."""
