"""Everything one looks at: metrics, charts, galleries and pages."""
