"""What a call on the envoy front receives, whatever the order of futures and callbacks."""

import asyncio
from typing import Any

from cuelight.server.rpc.asgi_call import AsgiCall


def event(body: bytes) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": True}


def test_an_event_taken_before_its_callback_ran_does_not_wake_who_waits_for_the_next() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        first, second = loop.create_future(), loop.create_future()
        futures = [first, second]
        call = AsgiCall({"headers": []}, lambda: futures.pop(0))
        call.probe()
        first.set_result(event(b"1"))

        assert (await call.next_event())["body"] == b"1"
        loop.call_later(0.01, second.set_result, event(b"2"))
        assert (await call.next_event())["body"] == b"2"

    asyncio.run(scenario())
