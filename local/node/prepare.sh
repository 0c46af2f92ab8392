#!/bin/sh
# Runs once, as root, in a container of the node's Debian base: what kind's own Dockerfile does after installing packages.
set -eu

# Services that Debian starts have no business in a node; kind's and the cluster's own are enabled below.
find /lib/systemd/system/sysinit.target.wants/ -name systemd-tmpfiles-setup.service -delete
rm -f /lib/systemd/system/multi-user.target.wants/* /etc/systemd/system/*.wants/* \
  /lib/systemd/system/local-fs.target.wants/* /lib/systemd/system/sockets.target.wants/*udev* \
  /lib/systemd/system/sockets.target.wants/*initctl* /lib/systemd/system/basic.target.wants/*
echo "ReadKMsg=no" >> /etc/systemd/journald.conf
ln -sf /usr/lib/systemd/systemd /sbin/init

# kind's unit calls /usr/local/bin/containerd, so Debian's unit goes and Debian's programs are linked there.
rm -f /lib/systemd/system/containerd.service
for program in containerd ctr containerd-shim-runc-v2; do
  ln -sf "/usr/bin/$program" "/usr/local/bin/$program"
done
mkdir -p /opt/cni /etc/kubernetes/manifests
ln -sfn /usr/lib/cni /opt/cni/bin

systemctl enable kubelet.service containerd.service undo-mount-hacks.service
systemctl mask systemd-binfmt.service # it registers things kernel-wide

# No rlimits: raising one needs a capability that not every machine gives.
ctr oci spec |
  jq '.hooks.createContainer[.hooks.createContainer | length] |= . + {"path": "/kind/bin/mount-product-files.sh"}' |
  jq 'del(.process.rlimits)' > /etc/containerd/cri-base.json
