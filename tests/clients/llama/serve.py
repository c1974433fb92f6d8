#!/usr/bin/env python3
"""The real llama.cpp HTTP server on 127.0.0.1, one thread, until SIGTERM or SIGINT.

Usage: serve.py MODEL.gguf PORT      port 0 takes a free one
Prints `listening http://127.0.0.1:PORT` once it answers. The model is called `tiny-random`; it speaks
/v1/chat/completions, /v1/messages, /v1/messages/count_tokens and /v1/models, with real tokens and real usage.
"""

import os
import signal
import socket
import sys
import threading

import xllamacpp


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def main():
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    settings = xllamacpp.CommonParams()
    settings.model.path = sys.argv[1]
    settings.model_alias = {"tiny-random"}
    settings.hostnames = ["127.0.0.1"]
    settings.port = int(sys.argv[2]) or free_port()
    settings.n_ctx = 4096
    settings.n_parallel = 4
    settings.n_gpu_layers = 0
    settings.cpuparams.n_threads = 1
    settings.warmup = False
    settings.use_jinja = True
    settings.endpoint_metrics = True
    # The likeliest token always: the same prompt babbles the same text.
    settings.sampling.temp = 0.0
    server = xllamacpp.Server(settings)
    print("listening", server.listening_address, flush=True)
    stop.wait()
    # The server's own threads are not joinable from here: leave at once.
    os._exit(0)


if __name__ == "__main__":
    main()
