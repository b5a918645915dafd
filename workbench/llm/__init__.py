"""Language models as architectures: what follows from a list of layers, and how it is read."""

from workbench.llm.model import LLM, Transformer
from workbench.llm.quantized import context_of, of_name
from workbench.llm.read import of_config, read_hugging_face

__all__ = ["LLM", "Transformer", "context_of", "of_config", "of_name", "read_hugging_face"]
