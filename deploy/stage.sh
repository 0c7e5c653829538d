#!/bin/sh
# Copies the files that run, and nothing else, into a folder: deploy/stage.sh /stage. For the image and for plain machines; the
# target needs libbpf1, libelf1, zlib1g and libstdc++6.
set -eu
cd "$(dirname "$0")/.."
stage=${1:?folder to fill}

node=$(cat build/node-path)
install -D -m 755 "$(readlink -f "$node")" "$stage/opt/sluice/bin/node"
install -D -m 755 bin/sluice "$stage/opt/sluice/bin/sluice"
mkdir -p "$stage/usr/local/bin"
ln -sf ../../../opt/sluice/bin/sluice "$stage/usr/local/bin/sluice" # on the path, for `kubectl exec`
mkdir -p "$stage/opt/sluice/dist" "$stage/opt/sluice/build"
cp -R dist/. "$stage/opt/sluice/dist/"
echo /opt/sluice/bin/node >"$stage/opt/sluice/build/node-path"
install -D -m 644 LICENSE "$stage/opt/sluice/LICENSE"
