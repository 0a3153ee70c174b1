"""Drawing of pictures, charts and pages."""
