"""--mode=report: one HTML file about one or several runs, from the files of their directories."""
