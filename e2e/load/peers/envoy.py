"""Envoy: a plain proxy over HTTP/1.1 and gRPC, and one that asks `ext_authz` before each call."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

from licet_kit.testing.ports import free_port

from e2e.load import tool
from e2e.load.peers.peer import Peer, Upstream
from infra.local.part import Part, http_ok
from infra.local.ports import LOOPBACK

_TYPE = "type.googleapis.com/envoy.extensions"
_MANAGER = f"{_TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager"
_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
# Above every number of connections that is measured; the default would refuse the case with most.
_THRESHOLDS = {"max_connections": 8192, "max_requests": 8192, "max_pending_requests": 8192}


def config(port: int, admin: int, upstream: int, *, http2: bool, allow: int | None) -> dict[str, Any]:
    """Listener, route and cluster; with `allow`, the port of a listener of the same Envoy that answers 200."""
    filters = [_ext_authz(allow)] if allow else []
    route = {"match": {"prefix": "/"}, "route": {"cluster": "triton", "timeout": "60s"}}
    listeners = [_listener("calls", port, route, filters)]
    clusters = [_cluster("triton", upstream, http2=http2)]
    if allow:
        yes = {"match": {"prefix": "/"}, "direct_response": {"status": 200}}
        listeners.append(_listener("allow", allow, yes, []))
        clusters.append(_cluster("allow", allow, http2=False))
    return {
        "admin": {"address": _address(admin)},
        "static_resources": {"listeners": listeners, "clusters": clusters},
    }


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": LOOPBACK, "port_value": port}}


def _listener(name: str, port: int, route: dict[str, Any], filters: list[dict[str, Any]]) -> dict[str, Any]:
    router = {"name": "router", "typed_config": {"@type": f"{_TYPE}.filters.http.router.v3.Router"}}
    manager = {
        "@type": _MANAGER,
        "stat_prefix": name,
        "codec_type": "AUTO",
        "route_config": {"virtual_hosts": [{"name": name, "domains": ["*"], "routes": [route]}]},
        "http_filters": [*filters, router],
    }
    network = {"name": "http", "typed_config": manager}
    return {"name": name, "address": _address(port), "filter_chains": [{"filters": [network]}]}


def _ext_authz(port: int) -> dict[str, Any]:
    service = {"server_uri": {"uri": f"http://{LOOPBACK}:{port}", "cluster": "allow", "timeout": "5s"}}
    return {
        "name": "ext_authz",
        "typed_config": {"@type": f"{_TYPE}.filters.http.ext_authz.v3.ExtAuthz", "http_service": service},
    }


def _cluster(name: str, port: int, *, http2: bool) -> dict[str, Any]:
    protocol: dict[str, Any] = {"http2_protocol_options": {}} if http2 else {"http_protocol_options": {}}
    options = {"@type": f"type.googleapis.com/{_HTTP_OPTIONS}", "explicit_http_config": protocol}
    endpoint = {"endpoint": {"address": _address(port)}}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "5s",
        "circuit_breakers": {"thresholds": [_THRESHOLDS]},
        "typed_extension_protocol_options": {_HTTP_OPTIONS: options},
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }


def _part(folder: Path, port: int, upstream: Upstream, *, grpc: bool, check: bool) -> Part:
    admin = free_port()
    allow = free_port() if check else None
    file = folder / "envoy.json"
    to = upstream.grpc if grpc else upstream.http
    file.write_text(json.dumps(config(port, admin, to, http2=grpc, allow=allow)))
    return Part(
        name="envoy",
        # One worker, as the gateway has one.
        argv=(
            *(tool.find("envoy"), "-c", str(file), "--concurrency", "1"),
            *("--disable-hot-restart", "--log-level", "error"),
        ),
        ports={"http": port},
        probe=lambda: http_ok(admin, "/ready"),
    )


_CHECK = "ext_authz over HTTP to a direct response of the same Envoy"
PLAIN = Peer("envoy", "nothing", "envoy", partial(_part, grpc=False, check=False))
EXT_AUTHZ = Peer("envoy ext_authz", _CHECK, "envoy", partial(_part, grpc=False, check=True))
GRPC_PLAIN = Peer("envoy", "nothing", "envoy", partial(_part, grpc=True, check=False))
GRPC_EXT_AUTHZ = Peer("envoy ext_authz", _CHECK, "envoy", partial(_part, grpc=True, check=True))
