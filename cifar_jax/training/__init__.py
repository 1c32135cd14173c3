"""What a run computes, pure: the recipe, its steps, losses, gradients, exact means, and the
decisions between epochs that follow from them.
"""
