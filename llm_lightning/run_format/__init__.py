"""What a run folder is: file names, split names, summary and status, spelt once."""
