"""Networks: the default bridge, the host's own, and none. Making others is not offered yet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from corten_shared.errors import NotFound, PermissionDenied, Unimplemented
from corten_shared.models.network import NetworkRecord
from corten_shared.times import format_rfc3339
from cortend.api.docker.call import NAMESPACE, Call
from cortend.api.docker.filters import Filters
from cortend.api.docker.ids import endpoint_id, network_id
from cortend.api.docker.responses import json_response
from cortend.api.docker.routing import Route
from cortend.services.views import ContainerView

if TYPE_CHECKING:
    from cortend.services.all import Services

_FILTERS = frozenset({"dangling", "driver", "id", "label", "name", "scope", "type"})
_PRUNE_FILTERS = frozenset({"until", "label", "label!"})


def routes(services: Services) -> Iterable[Route]:
    """The routes of this noun."""
    api = Networks(services)
    return (
        Route("GET", "/networks", api.list),
        Route("POST", "/networks/create", api.not_yet),
        Route("POST", "/networks/prune", api.prune),
        Route("GET", "/networks/{id}", api.inspect),
        Route("DELETE", "/networks/{id}", api.remove),
        Route("POST", "/networks/{id}/connect", api.not_yet),
        Route("POST", "/networks/{id}/disconnect", api.not_yet),
    )


class Networks:
    """Handlers; each calls its service and translates."""

    def __init__(self, services: Services) -> None:
        self._network = services.network
        self._containers = services.containers

    def _all(self) -> list[NetworkRecord]:
        bridge = self._network.network()
        built_in = [
            NetworkRecord(id="", name=name, driver=driver, created_at=bridge.created_at)
            for name, driver in (("host", "host"), ("none", "null"))
        ]
        return [bridge, *built_in]

    async def list(self, call: Call) -> Response:
        """GET /networks."""
        filters = call.filters(_FILTERS)
        return json_response([document(network) for network in self._all() if _matches(filters, network)])

    async def inspect(self, call: Call) -> Response:
        """GET /networks/{id}: by name, id or prefix of an id."""
        network = self._find(call.params["id"])
        views = await self._containers.list(NAMESPACE)
        members = [view for view in views if view.record.spec.network.mode == network.name]
        return json_response(document(network, members))

    def _find(self, ref: str) -> NetworkRecord:
        networks = self._all()
        for network in networks:
            if network.name == ref:
                return network
        matches = [network for network in networks if network_id(network.name).startswith(ref)]
        if len(matches) != 1:
            raise NotFound(f"network {ref[:80]} not found", subject=ref)
        return matches[0]

    async def remove(self, call: Call) -> Response:
        """DELETE /networks/{id}: those there are cannot be removed."""
        network = self._find(call.params["id"])
        raise PermissionDenied(f"{network.name} is a pre-defined network and cannot be removed")

    async def prune(self, call: Call) -> Response:
        """POST /networks/prune: there is never anything to remove."""
        call.filters(_PRUNE_FILTERS)
        return json_response({"NetworksDeleted": None})

    async def not_yet(self, call: Call) -> Response:
        """Making and joining further networks."""
        raise Unimplemented("user-defined networks are not supported yet", hint="use bridge, host or none")


def _matches(filters: Filters, network: NetworkRecord) -> bool:
    return (
        filters.search("name", (network.name,))
        and filters.prefix("id", (network_id(network.name),))
        and filters.exact("driver", (network.driver,))
        and filters.exact("scope", ("local",))
        and filters.exact("type", ("builtin",))
        and filters.labels({})
        and filters.flag("dangling") is not True
    )


def document(network: NetworkRecord, members: Sequence[ContainerView] = ()) -> dict[str, Any]:
    """A network in docker's shape; `members` are the containers on it (inspect only)."""
    ipam = [{"Subnet": network.subnet, "Gateway": network.gateway}] if network.subnet else None
    options = {"com.docker.network.bridge.name": network.interface} if network.interface else {}
    return {
        "Name": network.name,
        "Id": network_id(network.name),
        "Created": format_rfc3339(network.created_at),
        "Scope": "local",
        "Driver": network.driver,
        "EnableIPv4": True,
        "EnableIPv6": False,
        "IPAM": {"Driver": "default", "Options": None, "Config": ipam},
        "Internal": False,
        "Attachable": False,
        "Ingress": False,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": False,
        "Containers": {view.record.id: _member(network, view) for view in members},
        "Options": options,
        "Labels": {},
    }


def _member(network: NetworkRecord, view: ContainerView) -> dict[str, str]:
    endpoint = view.endpoint
    address = f"{endpoint.address}/{endpoint.prefix}" if endpoint and endpoint.address else ""
    return {
        "Name": view.record.name,
        "EndpointID": endpoint_id(network.name, view.record.id),
        "MacAddress": endpoint.mac if endpoint else "",
        "IPv4Address": address,
        "IPv6Address": "",
    }
