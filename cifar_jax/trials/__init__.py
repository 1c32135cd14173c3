"""Runs that are repeated, chosen among and compared: what their numbers say, and what they do not.

Commands use it; it trains by `trainer.loop.train`, and knows nothing of how studies are searched.
"""
