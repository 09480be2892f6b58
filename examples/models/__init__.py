"""Models on real data, with their manifests, as a publisher would bring them."""
