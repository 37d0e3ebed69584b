"""Export of a finished search: plan the files, write, check and measure them, deliver the best."""
