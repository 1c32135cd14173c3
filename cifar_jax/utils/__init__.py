"""The ground floor: errors, files, paths, and other small tools that every room may use."""
