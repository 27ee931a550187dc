"""What a trial of a search does: trains a candidate on images, or asks a person's own function for a score.

Which candidates there are, and which one wins, is decided elsewhere: nothing here ranks anything.
"""
