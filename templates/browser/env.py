"""The environment my-env: pages in a real browser, graded by what the agent read and by what the site received."""

from browser import Browser
from site_server import Site

from hud import Environment

env = Environment("my-env")
site = Site()
browser = Browser()


@env.initialize
async def open_browser():
    site.open()
    await browser.open()
    if browser.capability is not None:
        env.add_capability(browser.capability)


@env.shutdown
async def close_browser():
    await browser.close()
    site.close()


@env.template(description="Read a code that a page shows only after a click.")
async def read_code(length: int = 6):
    import secrets

    if not 4 <= length <= 64:
        raise ValueError(f"a code has 4 to 64 characters, not {length}")
    code = secrets.token_hex(length)[:length].upper()
    page = site.publish("code.html", code=code, proof=secrets.token_hex(8))
    try:
        answer = yield (
            f"Open {site.address(page)} in the browser and press the button. The page then shows a code. "
            f"Answer with the code alone.{browser.remark()}"
        )
        yield 1.0 if str(answer).strip() == code else 0.0
    finally:
        site.withdraw(page)


@env.template(description="Fill in an order form and send it; what the site receives is graded.")
async def order(item: str = "tea", quantity: int = 3, customer: str = "Ada Lovelace"):
    if item not in ITEMS:
        raise ValueError(f"item is one of {', '.join(ITEMS)}, not {item!r}")
    page = site.publish("order.html")
    try:
        yield (
            f"Open {site.address(page)} in the browser. Order {quantity} of {item!r} for {customer!r} and accept the "
            f"terms. When several orders are sent, the last one counts. Any answer will do.{browser.remark()}"
        )
        wanted = {"item": item, "quantity": quantity, "customer": customer, "terms": True}
        received = site.received(page)
        yield {"score": 1.0 if received[-1:] == [wanted] else 0.0, "info": {"received": received}}
    finally:
        site.withdraw(page)


ITEMS = ("coffee", "tea", "water")  # what pages/order.html offers
