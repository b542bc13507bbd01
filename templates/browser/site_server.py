"""The site that tasks happen on: a small HTTP server on loopback, with pages for one session each."""

import json
import os
import secrets

PAGES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "pages")
LIMIT_BYTES = 65536


class Site:
    """Pages under addresses that nobody can guess, and what each received."""

    def __init__(self):
        self._pages = {}
        self._server = None

    def open(self):
        import threading
        from http.server import ThreadingHTTPServer

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler(self._pages))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, name="site", daemon=True).start()

    def close(self):
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def publish(self, template, **values):
        """Put up a page of the folder `pages` and give its key; `values` stay with the server."""
        key = secrets.token_urlsafe(9)
        self._pages[key] = {"template": template, "received": [], **values}
        return key

    def address(self, key):
        return f"http://127.0.0.1:{self._server.server_port}/{key}/"

    def received(self, key):
        """Give what the page sent so far, oldest first."""
        return list(self._pages[key]["received"])

    def withdraw(self, key):
        del self._pages[key]


def handler(pages):
    """Give the class that answers requests for these pages."""
    from http.server import BaseHTTPRequestHandler

    class Handler(BaseHTTPRequestHandler):
        timeout = 30

        def do_GET(self):
            page, action = self.find()
            if page is None or action:
                self.reply(404)
                return
            with open(os.path.join(PAGES, page["template"]), encoding="utf-8") as file:
                html = file.read().replace("{{proof}}", page.get("proof", ""))
            self.reply(200, html, "text/html; charset=utf-8")

        def do_POST(self):
            page, action = self.find()
            try:
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(min(max(length, 0), LIMIT_BYTES)))
            except ValueError:
                self.reply(400)
                return
            if page is not None and action == "code" and "code" in page:
                # The page's script turns the proof round: the code is never in what a download of the page gives.
                if body == page["proof"][::-1]:
                    self.reply(200, page["code"])
                else:
                    self.reply(403)
            elif page is not None and action == "order" and "code" not in page and len(page["received"]) < 100:
                page["received"].append(body)
                self.reply(200, "Thank you.")
            else:
                self.reply(404)

        def find(self):
            """Give the page that the address names, and what is asked of it."""
            key, _, action = self.path.partition("?")[0].strip("/").partition("/")
            return pages.get(key), action

        def reply(self, status, text="", kind="text/plain; charset=utf-8"):
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    return Handler
