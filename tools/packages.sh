# The system packages by profile and distribution, one list each. Sourced by tools/setup.sh; also the reference for other systems.
# shellcheck shell=sh

supported() { # "debian 12"
  case $1 in
    'debian 12' | 'debian 13' | 'debian 14') true ;;
    'ubuntu 22.04' | 'ubuntu 22.10' | 'ubuntu 23.'* | 'ubuntu 24.'* | 'ubuntu 25.'* | 'ubuntu 26.'*) true ;;
    *) false ;;
  esac
}

# Ubuntu has bpftool in linux-tools-common, a wrapper that wants the tools of the running kernel beside it.
bpftool_of() {
  case $1 in
    ubuntu*) echo "linux-tools-common linux-tools-generic" ;;
    *) echo bpftool ;;
  esac
}

packages_for() { # profile, "debian 12"
  echo 'ca-certificates python3 python3-venv make'
  echo 'clang llvm gcc g++ libc6-dev linux-libc-dev libbpf-dev libelf-dev zlib1g-dev pkg-config'
  bpftool_of "$2"
  case $1 in build) return ;; esac
  echo 'iproute2 procps kmod nginx-light'
  case $1 in demo) return ;; esac
  echo 'curl ethtool git openssl etcd-server util-linux nftables iptables conntrack'
  echo 'apache2-utils bind9-dnsutils dnsmasq-base musl-tools postgresql' # applications that the tests run behind services
}
