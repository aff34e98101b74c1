"""A django-oauth-toolkit authorization server on a free loopback port, for the integration suites.

It prints one line of JSON once it answers: where it is, and the credentials made for this run. It
ends when its standard input ends.
"""

import argparse
import json
import os
import sys
import threading
from pathlib import Path

# The source tree stays clean.
sys.dont_write_bytecode = True


def main():
    args = _arguments()
    _end_with_stdin()

    args.data_dir.mkdir(parents=True, exist_ok=True)
    os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
    os.environ["FORGE_DJANGO_DATA_DIR"] = str(args.data_dir.resolve())
    os.environ["FORGE_DJANGO_ACCESS_TOKEN_SECONDS"] = str(args.access_token_seconds)

    import django

    django.setup()

    # These need the settings, so they cannot stand at the top.
    from django.core.management import call_command
    from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
    from django.core.wsgi import get_wsgi_application

    from provision import provision

    call_command("migrate", verbosity=0, interactive=False)
    credentials = provision()

    class Server(ThreadedWSGIServer):
        # Django's own 10 would drop connections when a test opens hundreds at once.
        request_queue_size = 1024

    # From here on the kernel accepts connections, so whoever reads the line may call at once.
    server = Server(("127.0.0.1", 0), WSGIRequestHandler)
    server.set_app(get_wsgi_application())
    url = f"http://127.0.0.1:{server.server_port}"
    print(json.dumps(_endpoints(url) | credentials), flush=True)
    server.serve_forever()


def _arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True, help="folder for the sqlite file")
    parser.add_argument(
        "--access-token-seconds",
        type=int,
        default=int(os.environ.get("FORGE_DJANGO_ACCESS_TOKEN_SECONDS", "3600")),
        help="life of an access token (default: $FORGE_DJANGO_ACCESS_TOKEN_SECONDS, or 3600)",
    )
    return parser.parse_args()


def _endpoints(url):
    return {
        "url": url,
        "token_url": f"{url}/o/token/",
        "introspect_url": f"{url}/o/introspect/",
        "revoke_url": f"{url}/o/revoke_token/",
        "protected_url": f"{url}/api/me",
        "admin_url": f"{url}/api/admin",
        "stats_url": f"{url}/stats",
    }


def _end_with_stdin():
    """Ends the process when whoever started it goes away, even by SIGKILL: that closes the pipe."""

    def wait():
        # Past Python's buffering, which would hold a lock that exit handlers want.
        while os.read(0, 4096):
            pass
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    main()
