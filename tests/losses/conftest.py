"""The loss tests share the slow reference and its cases, which lie beside them."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
