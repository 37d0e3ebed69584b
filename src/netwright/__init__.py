"""netwright designs the model instead of only tuning it.

The public names are listed in `__init__.pyi`; each is imported when it is first used.
"""

import os

import lazy_loader

__version__ = "0.1.0"

# onnxruntime's Linux wheels (1.29 and later) look up a vendor's host and write a device id as soon
# as they are imported; nothing but this, said before, keeps them from it. A value that stands there
# already is the user's own. Worker processes import this first, too.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
