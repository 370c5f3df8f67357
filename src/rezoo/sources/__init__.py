"""Sources of networks: the Hub, catalogues of published weights, and model references."""
