"""Help with prompts: templates, prompts from a product's title, warnings, hints. Knows no HTTP, pictures or jobs."""
