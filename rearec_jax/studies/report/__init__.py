"""The report: one HTML file about runs and studies, from the files of their directories."""
