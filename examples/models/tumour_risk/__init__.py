"""Risk that a breast mass is malignant, from measurements of its cell nuclei. For demonstration, not for diagnosis."""
