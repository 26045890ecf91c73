"""Computes what a training needs of a slice of TPUs, on a machine without one."""
