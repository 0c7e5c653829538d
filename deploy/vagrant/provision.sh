#!/bin/sh
# Provisions one of the two nodes of the Vagrantfile: builds, installs, and starts the pods and the agent as services.
# Runs as root in the guest; running it again brings the node up to date.
#
#   provision.sh 1|2
set -eu
number=${1:?number of the node}
source=/sluice

apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends make curl iproute2 python3 >/dev/null
make -C "$source" build
systemctl stop sluice 2>/dev/null || true # the pinned programs go on forwarding
"$source/deploy/stage.sh" /
ln -sf /opt/sluice/bin/sluice /usr/local/bin/sluice
install -D -m 755 "$source/deploy/vagrant/pods.sh" /opt/sluice/lib/pods.sh
install -D -m 644 -t /etc/sluice/manifests "$source"/deploy/vagrant/manifests/*.yaml
mkdir -p /srv/web
echo "web on $(hostname)" >/srv/web/index.html

unit() { cat >"/etc/systemd/system/$1.service"; }

unit sluice-pods <<EOT
[Unit]
Description=Pods of this node: network namespaces web and client
After=network-online.target
Wants=network-online.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/opt/sluice/lib/pods.sh $number
[Install]
WantedBy=multi-user.target
EOT

unit sluice-web <<EOT
[Unit]
Description=Web server in the pod web
After=sluice-pods.service
Requires=sluice-pods.service
[Service]
ExecStart=/usr/sbin/ip netns exec web python3 -m http.server 80 --directory /srv/web
Restart=always
[Install]
WantedBy=multi-user.target
EOT

unit sluice <<EOT
[Unit]
Description=Sluice, Kubernetes service proxy
Documentation=file:///sluice/README.md
After=network-online.target sluice-pods.service
Wants=network-online.target
[Service]
ExecStart=/opt/sluice/bin/sluice agent --manifests /etc/sluice/manifests
Restart=always
RestartSec=1
[Install]
WantedBy=multi-user.target
EOT

systemctl daemon-reload
systemctl enable --quiet sluice-pods sluice-web sluice
systemctl restart sluice-pods sluice-web sluice
for _ in $(seq 60); do
  curl -sf -o /dev/null http://127.0.0.1:9961/readyz && exec sluice status
  sleep 1
done
echo 'provision: sluice is not ready after a minute; journalctl -u sluice tells why' >&2
exit 1
