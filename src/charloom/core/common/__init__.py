"""What stands below everything: array types, errors, and the plain values that stages find out."""
