# certrotd as a container: the sidecar's image, also good for one-shot runs. See docs/container.md.
#
#   docker build -t certrotd .
#   docker build -t certrotd --build-arg BASE=registry.example/python:3.11-slim .
#
# BASE needs Python 3.11 or newer with venv, and nothing else; the same base serves both stages, as
# the environment refers to its interpreter. In production name it by its digest.
ARG BASE=docker.io/library/python:3.11-slim

FROM ${BASE} AS build
WORKDIR /build
COPY requirements/run.txt requirements/build.txt requirements/
# Two environments: what builds does not go along, pip neither.
RUN python3 -m venv tools \
 && python3 -m venv --without-pip /opt/certrotd \
 && tools/bin/pip install --no-cache-dir --require-hashes -r requirements/build.txt \
 && tools/bin/pip --python /opt/certrotd/bin/python install --no-cache-dir --no-compile \
        --only-binary :all: --require-hashes -r requirements/run.txt
COPY pyproject.toml README.md LICENSE ./
COPY certrotd certrotd
# The asynchronous half of the Kubernetes client is a third of everything, and not used. Byte code is
# made here because nobody can write it where the image runs; unchecked, because layers do not keep
# what a check would compare.
RUN tools/bin/pip wheel --no-deps --no-index --no-build-isolation --wheel-dir dist . \
 && tools/bin/pip --python /opt/certrotd/bin/python install --no-compile --no-deps --no-index \
        dist/*.whl \
 && rm -r /opt/certrotd/lib/python3*/site-packages/kubernetes/aio \
 && /opt/certrotd/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash \
        /opt/certrotd/lib

FROM ${BASE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="certrotd" \
      org.opencontainers.image.description="Replaces every control-plane certificate every day, and proves that the running process uses the new one" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /opt/certrotd /opt/certrotd
ENV PATH=/opt/certrotd/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONNOUSERSITE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /
# No name in any database, so that no base can give it another meaning. State and targets are
# volumes that this user, or the one set by runAsUser, can write.
USER 65532:65532
STOPSIGNAL SIGTERM
# Kubernetes does not look at this; docker and podman do. Exit status 1 is a warning.
HEALTHCHECK --interval=5m --timeout=30s CMD certrotd check; test $? -le 1
ENTRYPOINT ["certrotd"]
CMD ["run"]
