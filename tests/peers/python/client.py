"""Uses each API that the official Python SDK has, and prints what came of each by its name: "ok", or why not.

The SDK takes addresses and token from the environment by itself. The other side of a call is the application of the id
that is given. The components are those of the tests, as in tests/peers/app/sdk.go.
"""

import asyncio
import json
import sys

from dapr.actor import ActorId, ActorProxy
from dapr.clients import DaprClient, Job
from dapr.clients.grpc import conversation


def invocation(dapr):
    answer = dapr.invoke_method(peer, "python", b"", http_verb="GET")
    assert json.loads(answer.data)["path"] == "/python", answer.data


def state(dapr):
    dapr.save_state("state", "python", "kept")
    kept = dapr.get_state("state", "python").data
    assert kept == b"kept", kept


def pubsub(dapr):
    dapr.publish_event("pubsub", "sold", json.dumps({"by": "python"}), data_content_type="application/json")


def actors(_):
    answer = asyncio.run(ActorProxy.create("cart", ActorId("python")).invoke_method("add", b"1"))
    assert json.loads(answer)["path"] == "/actors/cart/python/method/add", answer


def secrets(dapr):
    assert dapr.get_secret("secrets", "HOSTNAME").secret["HOSTNAME"]


def configuration(dapr):
    colour = dapr.get_configuration("settings", ["colour"]).items["colour"].value
    assert colour == "blue", colour


def bindings(dapr):
    dapr.invoke_binding("endpoint", "get")


def lock(dapr):
    assert dapr.try_lock("locks", "python", "python", 60).success
    dapr.unlock("locks", "python", "python")


def jobs(dapr):
    dapr.schedule_job(Job(name="python", due_time="1s"))
    assert dapr.get_job("python").name == "python"
    dapr.delete_job("python")


def converse(dapr):
    words = conversation.create_user_message("good day")
    answer = dapr.converse_alpha2("echo", [conversation.ConversationInputAlpha2(messages=[words])])
    said = answer.outputs[0].choices[0].message.content
    assert "good day" in said, said


peer = sys.argv[1]
outcomes = {}
with DaprClient() as client:
    for use in [invocation, state, pubsub, actors, secrets, configuration, bindings, lock, jobs, converse]:
        try:
            use(client)
            outcomes[use.__name__] = "ok"
        except Exception as error:  # Whatever it is, it is told.
            outcomes[use.__name__] = repr(error)
print(json.dumps(outcomes))
