"""Networks that take features and classes from images, and the interface that they share."""
