"""The graph: nodes of canonical operators, and passes that rewrite it. No torch, no onnx."""

from certify.graph.builder import GraphBuilder
from certify.graph.graph import INPUT, CoarseError, Derived, Graph, GraphError, Node, Shape

__all__ = ["INPUT", "CoarseError", "Derived", "Graph", "GraphBuilder", "GraphError", "Node", "Shape"]
