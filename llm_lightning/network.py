from llm_lightning.data.download import Unavailable
def reachable(urls, timeout_s=4.0):
    return []
