"""What the config.json of each family says, and the stages that follow from it. No torch in this room."""
