# A server for one run, on a CPU. Build in a checkout; mount the run at /model:
#   docker build -t llm_lightning .
#   docker run --rm -p 127.0.0.1:8000:8000 -v "$PWD/runs/last_block/seed_123:/model:ro" llm_lightning
FROM python:3.12-slim

RUN useradd --create-home --uid 1000 serve
WORKDIR /app
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY llm_lightning llm_lightning
COPY conf conf
# torch comes from the index of its builds for CPUs, which are a tenth of the size.
RUN pip install --no-cache-dir --extra-index-url https://download.pytorch.org/whl/cpu \
    -c constraints.txt '.[serve,hub]'

USER serve
ENV PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1 LLM_LIGHTNING_OFFLINE=1
EXPOSE 8000
HEALTHCHECK --start-period=60s CMD ["python", "-c", \
    "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=3)"]
# `exec` form: SIGTERM reaches the server, which answers what has arrived and ends.
ENTRYPOINT ["python", "-m", "llm_lightning", "serve", "/model", "--host", "0.0.0.0", "--port", "8000"]
