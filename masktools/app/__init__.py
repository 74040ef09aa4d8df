"""The page on which recordings are restored: a server on this machine, and two processes that work for it.

The server knows neither sound nor torch: a reader opens audio and draws it, a worker holds the model. What is decided
is written into a folder of each recording before it is answered, and found again after a restart.
"""
