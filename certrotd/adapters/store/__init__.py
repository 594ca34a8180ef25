"""Generations of a certificate's outputs beside the outputs themselves, and copies of old ones.

```
/etc/kubernetes/pki/apiserver.crt -> .certrotd/live/apiserver/apiserver.crt   made once
                    .certrotd/live/apiserver -> ../gen/apiserver/<generation>  the only switch
                    .certrotd/gen/apiserver/<generation>/{apiserver.crt,apiserver.key,MANIFEST}
```
"""

from certrotd.adapters.store.store import GenerationStore

__all__ = ["GenerationStore"]
