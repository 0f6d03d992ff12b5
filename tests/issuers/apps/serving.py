"""Serves one WSGI application on a free port of loopback for as long as its parent wants it."""

import json
import os
import sys
import threading
from wsgiref.simple_server import WSGIRequestHandler, make_server


class Quiet(WSGIRequestHandler):
    def log_message(self, *_):
        pass


def serve(application, **facts):
    """Says where it listens, and `facts`, in one line of JSON; ends when its input ends."""
    server = make_server("127.0.0.1", 0, application, handler_class=Quiet)

    def wait():
        sys.stdin.read()
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()
    print(json.dumps({"port": server.server_port, **facts}), flush=True)
    server.serve_forever()
