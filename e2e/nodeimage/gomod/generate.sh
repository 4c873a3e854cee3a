#!/bin/bash
# Makes go.mod and go.sum anew (only to change versions; both are committed).
# Kubernetes names its own parts as folders beside it: here they become modules.
set -euo pipefail
cd "$(dirname "$0")"
K=$(sed -n 's/^kubernetes = "\(.*\)"/\1/p' ../versions.toml) COREDNS=v1.14.2; S=0.${K#1.}
export GOFLAGS=-mod=mod CGO_ENABLED=0
kmod=$(go mod download -json k8s.io/kubernetes@v$K | jq -r .GoMod)
etcd=$(awk '$1 == "go.etcd.io/etcd/client/v3" {print $2}' "$kmod")
{
  printf 'module nodeimage\n\ngo 1.26.0\n\ngodebug default=go1.26\n\nrequire (\n'
  printf '\tk8s.io/kubernetes v%s\n\tgo.etcd.io/etcd/server/v3 %s\n\tgithub.com/coredns/coredns %s\n)\n\nreplace (\n' $K "$etcd" $COREDNS
  sed -n '/^replace (/,/^)/p' "$kmod" | awk -v v=v$S '$2 == "=>" {print "\t" $1 " => " $1 " " v}'
  # keep the versions Kubernetes was released with where CoreDNS asks for newer
  for m in golang.org/x/{crypto,net,oauth2,sys,term,text} google.golang.org/genproto/googleapis/rpc; do
    awk -v m=$m '$1 == m {print "\t" m " => " m " " $2}' "$kmod"
  done
  printf ')\n'
} >go.mod
go mod tidy
