"""Rows of endpoints: who has which address on which network."""

from __future__ import annotations

import sqlite3

from corten_shared.errors import AlreadyExists, NotFound
from corten_shared.models.network import Endpoint
from cortend.metadata.session import Session, load_record, readable


class Endpoints:
    """core.metadata.EndpointStore. An endpoint without an address keeps NULL there, which is never taken."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def get(self, ns: str, container_id: str) -> Endpoint:
        """Raises NotFound."""
        found = self.find(ns, container_id)
        if found is None:
            raise NotFound(f"container {container_id} is on no network", subject=container_id)
        return found

    def find(self, ns: str, container_id: str) -> Endpoint | None:
        """None when there is none."""
        row = self._session.one(
            "SELECT record FROM endpoints WHERE ns = ? AND container_id = ?", (ns, container_id)
        )
        return None if row is None else load_record(Endpoint, row[0])

    def list(self) -> list[tuple[str, Endpoint]]:
        """Every endpoint with its namespace."""
        rows = self._session.all("SELECT ns, record FROM endpoints ORDER BY ns, container_id")
        return readable(rows, lambda row: (row[0], load_record(Endpoint, row[1])))

    def put(self, ns: str, endpoint: Endpoint) -> None:
        """Create or replace; raises AlreadyExists when another has the address."""
        known = self._session.one(
            "SELECT network, address FROM endpoints WHERE ns = ? AND container_id = ?", (ns, endpoint.container_id)
        )
        self._write(ns, endpoint)
        if endpoint.address and known != (endpoint.network, endpoint.address):
            self._session.execute(
                "INSERT INTO last_addresses (network, address) VALUES (?, ?)"
                " ON CONFLICT (network) DO UPDATE SET address = excluded.address",
                (endpoint.network, endpoint.address),
            )

    def delete(self, ns: str, container_id: str) -> None:
        """Missing is fine."""
        self._session.execute("DELETE FROM endpoints WHERE ns = ? AND container_id = ?", (ns, container_id))

    def last_address(self, network: str) -> str:
        """Also when its endpoint is gone; empty when there never was one."""
        row = self._session.one("SELECT address FROM last_addresses WHERE network = ?", (network,))
        return "" if row is None else str(row[0])

    def _write(self, ns: str, endpoint: Endpoint) -> None:
        try:
            self._session.execute(
                "INSERT INTO endpoints (ns, container_id, network, address, record) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT (ns, container_id) DO UPDATE SET network = excluded.network,"
                " address = excluded.address, record = excluded.record",
                (ns, endpoint.container_id, endpoint.network, endpoint.address or None, endpoint.model_dump_json()),
            )
        except sqlite3.IntegrityError as error:
            raise self._refused(endpoint) from error

    def _refused(self, endpoint: Endpoint) -> AlreadyExists:
        (holder,) = self._session.one(
            "SELECT container_id FROM endpoints WHERE network = ? AND address = ?", (endpoint.network, endpoint.address)
        )
        return AlreadyExists(
            f"address {endpoint.address} of network {endpoint.network} is in use by container {holder}",
            subject=endpoint.address,
            details={"container_id": holder},
        )
