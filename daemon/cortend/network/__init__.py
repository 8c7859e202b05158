"""Networks on this host's kernel, through netlink (pyroute2) and nftables (libnftables).

`BridgeNetwork` implements `core.network.NetworkDriver`. Everything else here is one part of it:
addresses (`ipam`), ports of the host (`ports`), rules as text (`rules`) and their application
(`nft`), interfaces (`links`), namespaces (`pins`), connection tracking (`conntrack`).
"""

from cortend.network.bridge import BridgeNetwork, BridgeSettings

__all__ = ["BridgeNetwork", "BridgeSettings"]
