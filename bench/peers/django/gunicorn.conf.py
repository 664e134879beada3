"""Threads, because only they keep connections open between requests; one process a
core, because a Python process runs on one."""

import multiprocessing
import os

bind = f"127.0.0.1:{os.environ.get('PORT', '0')}"
worker_class = "gthread"
workers = int(os.environ.get("WEB_CONCURRENCY", multiprocessing.cpu_count()))
threads = int(os.environ.get("THREADS", "4"))
keepalive = 75
preload_app = True
loglevel = "warning"


def when_ready(server):
    host, port = server.LISTENERS[0].sock.getsockname()
    print(f"listening on http://{host}:{port}", flush=True)
