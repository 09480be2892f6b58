"""model-vault: encrypted artefacts, verified loading of the chain's active versions into Triton."""
