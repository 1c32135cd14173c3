"""Charts, images and pages of which reports, demos and the service are made."""
