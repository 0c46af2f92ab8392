"""Agents, their SIP secrets, queues and numbers."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Response

from callcentre.api.access import Parts, Until, requires
from callcentre.api.models import AgentIn, AgentOut, QueueIn, QueueName, QueueOut, SipSecretOut, Username, shape_rows
from callcentre.credentials import generate_sip_secret, ha1
from callcentre.store import agents as store
from callcentre.store import tenant as tenant_store

router = APIRouter(prefix="/v1", dependencies=[requires("api-key")])

UsernamePath = Annotated[Username, Path()]
QueuePath = Annotated[QueueName, Path()]


@router.post("/agents", status_code=201)
async def create_agent(body: AgentIn, services: Parts, deadline: Until) -> SipSecretOut:
    """The secret is made before the first attempt: an attempt that is repeated is recognised by it."""
    secret = generate_sip_secret()
    digest = ha1(body.username, services.tenant, secret)
    await services.database.run(
        lambda session: store.create_agent(session, body.username, body.display_name, digest), deadline
    )
    return SipSecretOut(username=body.username, realm=services.tenant, sip_secret=secret)


@router.get("/agents")
async def list_agents(services: Parts, deadline: Until) -> dict[str, Any]:
    return {"items": shape_rows(AgentOut, await services.database.run(store.list_agents, deadline))}


@router.get("/agents/{username}")
async def get_agent(username: UsernamePath, services: Parts, deadline: Until) -> dict[str, Any]:
    row = await services.database.run(lambda session: store.get_agent(session, username), deadline)
    return shape_rows(AgentOut, [row])[0]


@router.delete("/agents/{username}", status_code=204)
async def delete_agent(username: UsernamePath, services: Parts, deadline: Until) -> Response:
    """204 also when there is none: after a failover nobody could tell which attempt removed it."""
    await services.database.run(lambda session: store.delete_agent(session, username), deadline)
    return Response(status_code=204)


@router.post("/agents/{username}/sip-secret")
async def new_sip_secret(username: UsernamePath, services: Parts, deadline: Until) -> SipSecretOut:
    secret = generate_sip_secret()
    digest = ha1(username, services.tenant, secret)
    await services.database.run(lambda session: store.set_secret(session, username, digest), deadline)
    return SipSecretOut(username=username, realm=services.tenant, sip_secret=secret)


@router.put("/queues/{name}")
async def put_queue(name: QueuePath, body: QueueIn, services: Parts, deadline: Until) -> QueueOut:
    await services.database.run(lambda session: store.put_queue(session, name, body.agents), deadline)
    return QueueOut(name=name, agents=body.agents)


@router.get("/queues")
async def list_queues(services: Parts, deadline: Until) -> dict[str, Any]:
    return {"items": await services.database.run(store.list_queues, deadline)}


@router.get("/queues/{name}")
async def get_queue(name: QueuePath, services: Parts, deadline: Until) -> dict[str, Any]:
    return await services.database.run(lambda session: store.get_queue(session, name), deadline)


@router.get("/numbers")
async def list_numbers(services: Parts, deadline: Until) -> dict[str, Any]:
    return {"items": await services.database.run(tenant_store.list_numbers, deadline)}
