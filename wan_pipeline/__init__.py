"""wan_pipeline: images in a bucket become checked videos, bought once and accounted for to the cent."""
