#!/usr/bin/env bash
# The first process of a machine, in namespaces of its own: gives the machine its own disk and name, starts containerd, and keeps
# its agent, the command that it is given, alive as systemd would. Wants NODE, the machine's folder, and HOST, its name.
set -euo pipefail

hostname "$HOST"
mount -t tmpfs -o mode=755 tmpfs /run
mount --bind "$NODE/log" /var/log
mount --bind "$NODE/lib" /var/lib
ip link set lo up
echo 1 > /proc/sys/net/ipv4/ip_forward

containerd --config "$NODE/containerd.toml" > /var/log/containerd.log 2>&1 &
until ctr version > /dev/null 2>&1 && ip route | grep -q ^default; do sleep 0.05; done
for archive in "$NODE"/images/*; do
  ctr --namespace k8s.io images import "$archive" > /dev/null
done
touch /run/booted

while true; do
  "$@" >> /var/log/agent.log 2>&1 || true
  sleep 0.2
done
