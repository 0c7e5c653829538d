#!/bin/sh
# The network of one node of two, as a bridge plug-in of CNI would lay it out:
#
#    web 10.1.N.2 ─┐
#                  ├─ bridge pods0 10.1.N.1 ── node N ── 192.168.56.1N ─── 192.168.56.1M ── node M ── 10.1.M.0/24
#  client 10.1.N.3 ┘
#
#   pods.sh 1|2 [UPLINK ADDRESS PREFIX, 192.168.56.1]
set -eu
number=${1:?number of the node}
other=$((3 - number))
uplinks=${2:-192.168.56.1}

sysctl -qw net.ipv4.ip_forward=1
ip link show pods0 >/dev/null 2>&1 || ip link add pods0 type bridge
ip addr replace "10.1.$number.1/24" dev pods0
ip link set pods0 up
ip route replace "10.1.$other.0/24" via "$uplinks$other"

pod() { # name, last byte of its address
  ip netns list | grep -qw "$1" || ip netns add "$1"
  if ! ip link show "pod-$1" >/dev/null 2>&1; then
    ip link add "pod-$1" type veth peer name eth0 netns "$1"
  fi
  ip link set "pod-$1" master pods0 up
  ip -n "$1" addr replace "10.1.$number.$2/24" dev eth0
  ip -n "$1" link set lo up
  ip -n "$1" link set eth0 up
  ip -n "$1" route replace default via "10.1.$number.1"
}
pod web 2
pod client 3
