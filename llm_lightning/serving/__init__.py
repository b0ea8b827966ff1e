"""One run's model behind HTTP: texts classified, or texts written in OpenAI's protocol."""
