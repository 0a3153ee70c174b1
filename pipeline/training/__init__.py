"""Training of one cell: everything outside `gan` that can change its weights, and nothing else.

Every module here enters the digest of each recipe's code (pipeline.trace), so that a changed line retrains
every cell. What only shows or logs a training lies in pipeline.tracking.
"""
