"""What can go wrong, seen in definitions, names, schemas and sources before any two values are compared."""
