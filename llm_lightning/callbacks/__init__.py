"""Lightning callbacks: what happens around training steps."""
