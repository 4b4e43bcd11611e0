"""S3, STS and IAM on this machine: moto's server in a process of its own."""

from __future__ import annotations

import logging
import os
import resource
from pathlib import Path

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

from cloudoffload.emulator.child import listener, remove_scratch, say_ready, settings_from_parent, when_parent_ends


def main() -> None:
    """Serve until the parent ends."""
    settings = settings_from_parent()
    scratch = Path(settings["scratch"])
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line per request would fill the log of diagnosis
    _allow_many_files()

    def end() -> None:
        remove_scratch(scratch)
        os._exit(0)

    when_parent_ends(end)
    server = make_server(
        "127.0.0.1",
        0,
        DomainDispatcherApplication(create_backend_app),
        threaded=True,
        request_handler=MotoRequestHandler,
        fd=listener(settings).detach(),
    )
    say_ready()
    server.serve_forever()


def _allow_many_files() -> None:
    """Each large object is an open temporary file of moto, beside one socket per request."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


if __name__ == "__main__":
    main()
