#!/bin/bash
# Installs every foreign peer that the interoperability tests talk to. Meant for Debian 12, run as root:
#
#   interop/install.sh && (cd interop && go test ./...)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
export DEBIAN_FRONTEND=noninteractive PUPPETEER_SKIP_DOWNLOAD=1

# The daemons are started by the tests, on ports of their own; the packages must not start theirs.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 755 "$policy"
	trap 'rm -f "$policy"' EXIT
fi

packages=(
	python3 python3-websockets # server and client
	python3-h2 python3-wsproto # client over HTTP/2
	chromium firefox-esr       # browsers, driven by puppeteer-core
	nginx-light haproxy caddy  # reverse proxies
	tinyproxy                  # CONNECT
	openssl                    # TLS that changes its keys
	microsocks dante-server    # SOCKS5
)
command -v node >/dev/null || packages+=(nodejs)
command -v npm >/dev/null || packages+=(npm)

missing=()
for package in "${packages[@]}"; do
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)" = installed ] || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
	apt-get update
	apt-get install -y --no-install-recommends "${missing[@]}"
fi

npm ci
