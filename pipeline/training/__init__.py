"""Training one cell: all that can change its weights besides `gan`, and nothing else.

Every module here enters the digest of each recipe's code (pipeline.trace), so that a changed line retrains
every cell. What only shows or logs a training lies in pipeline.tracking.
"""
