"""The main job from end to end on real smartwatch data: train, convert, deploy to ten devices, learn, combine."""
