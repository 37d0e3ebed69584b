from .supernet import Supernet as Supernet
