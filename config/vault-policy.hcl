# The least that certrotd.yaml needs: one signature for each certificate, nothing else.
#
#   vault policy write certrotd-master vault-policy.hcl
#
# No path here can read a key, change a role, revoke or list. Looking up, renewing and revoking
# its own token comes with Vault's `default` policy, which a login adds by itself.

path "pki/etcd/sign/server" {
  capabilities = ["update"]
}

path "pki/etcd/sign/peer" {
  capabilities = ["update"]
}

path "pki/etcd-client/sign/healthcheck" {
  capabilities = ["update"]
}

path "pki/etcd-client/sign/apiserver-etcd-client" {
  capabilities = ["update"]
}

path "pki/kubernetes/sign/apiserver" {
  capabilities = ["update"]
}

path "pki/kubernetes/sign/apiserver-kubelet-client" {
  capabilities = ["update"]
}

path "pki/kubernetes/sign/controller-manager" {
  capabilities = ["update"]
}

path "pki/kubernetes/sign/controller-manager-serving" {
  capabilities = ["update"]
}

path "pki/kubernetes/sign/scheduler" {
  capabilities = ["update"]
}

path "pki/kubernetes/sign/admin" {
  capabilities = ["update"]
}

path "pki/front-proxy/sign/front-proxy-client" {
  capabilities = ["update"]
}
