"""What a training needs of a slice of TPUs, compiled for it on a machine without one."""
