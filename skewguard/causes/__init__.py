"""The rules that give every differing cell its cause."""
