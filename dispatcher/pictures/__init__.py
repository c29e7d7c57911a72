"""Pictures that came from outside, decoded in a confined process: the only door to Pillow's decoders."""
