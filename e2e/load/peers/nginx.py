"""nginx: a plain proxy, and one that asks a subrequest before each call."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from string import Template

from e2e.load import tool
from e2e.load.peers.peer import Peer, Upstream
from infra.local.part import Part, http_ok
from infra.local.ports import LOOPBACK

# One worker, as the gateway has one. Connections are kept on both sides and bodies stay in memory, as nginx does
# best; the upstream that allows every call is nginx itself, so that the check costs as little as one can.
CONFIG = Template("""\
daemon off;
worker_processes 1;
pid $folder/nginx.pid;
error_log stderr error;
events { worker_connections 8192; }
http {
  access_log off;
  client_body_temp_path $folder/body;
  proxy_temp_path $folder/proxy;
  fastcgi_temp_path $folder/fastcgi;
  uwsgi_temp_path $folder/uwsgi;
  scgi_temp_path $folder/scgi;
  client_max_body_size 64m;
  client_body_buffer_size 2m;
  keepalive_requests 1000000000;
  upstream triton { server $host:$triton; keepalive 128; keepalive_requests 1000000000; }
  upstream allow { server $host:$port; keepalive 128; keepalive_requests 1000000000; }
  server {
    listen $host:$port backlog=4096;
    location = /healthy { return 200; }
    location = /allow { return 204; }
    location = /check {
      internal;
      proxy_pass http://allow/allow;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_pass_request_body off;
      proxy_set_header Content-Length "";
    }
    location / {
      $check
      proxy_pass http://triton;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffers 64 32k;
      proxy_buffer_size 32k;
      proxy_busy_buffers_size 64k;
    }
  }
}
""")


def _part(folder: Path, port: int, upstream: Upstream, *, check: str) -> Part:
    config = folder / "nginx.conf"
    config.write_text(
        CONFIG.substitute(folder=folder, host=LOOPBACK, port=port, triton=upstream.http, check=check)
    )
    return Part(
        name="nginx",
        # As whoever runs the benchmark: root's nginx would otherwise drop to an account that cannot write here.
        argv=(tool.find("nginx"), "-p", str(folder), "-c", str(config), "-g", "user root;"),
        ports={"http": port},
        probe=lambda: http_ok(port, "/healthy"),
    )


PLAIN = Peer("nginx", "nothing", "nginx", partial(_part, check=""))
AUTH_REQUEST = Peer(
    "nginx auth_request",
    "a subrequest over loopback to `return 204` in the same nginx",
    "nginx",
    partial(_part, check="auth_request /check;"),
)
