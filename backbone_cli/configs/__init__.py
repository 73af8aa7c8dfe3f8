"""What each family's config.json holds, and the stages that follow from it. No torch here."""
