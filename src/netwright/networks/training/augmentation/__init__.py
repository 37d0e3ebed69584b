"""Augmentation of images in training: geometry, erasing, colour, policies and mixing."""
