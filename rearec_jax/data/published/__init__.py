"""Downloads the paper's data sets, prepares them once, and reads them again."""
