"""What is in a media file: probing, limits, posters. Knows no provider and no bucket."""
