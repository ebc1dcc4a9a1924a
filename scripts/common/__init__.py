"""What the scripts share. Nothing here imports a script."""
