"""RunRecords to what a report states: plain dataclasses, without HTML and without drawing."""
