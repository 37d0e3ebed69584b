"""Where trials run: in this process, or in supervised workers that can be killed."""
