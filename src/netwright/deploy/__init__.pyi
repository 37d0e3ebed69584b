from .model import Model as Model
from .model import load as load
from .onnx import Parity as Parity
from .onnx import export as export
