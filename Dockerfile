# syntax=docker/dockerfile:1

FROM python:3.11.15-slim-trixie@sha256:90744cff8f32887f075c47d747a173ff333e9e98801667af93c357fa9f5e28ff AS build
WORKDIR /build
RUN python -m venv /venv
COPY requirements.txt requirements-build.txt ./
RUN /venv/bin/pip install --no-cache-dir --no-deps --require-hashes -r requirements.txt && \
    python -m pip install --no-cache-dir --no-deps --require-hashes -r requirements-build.txt
COPY pyproject.toml README.md LICENSE pytest_hookchain.py ./
COPY hookchain hookchain
COPY hooks hooks
COPY dispatcher dispatcher
COPY storage storage
COPY midjourney midjourney
COPY examples examples
RUN python -m pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /dist . && \
    /venv/bin/pip install --no-cache-dir --no-deps /dist/*.whl

FROM python:3.11.15-slim-trixie@sha256:90744cff8f32887f075c47d747a173ff333e9e98801667af93c357fa9f5e28ff
RUN useradd --create-home --uid 10001 hookchain && install -d -o hookchain -g hookchain /data
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PORT=8000
# A number, since Kubernetes' runAsNonRoot cannot look up a name.
USER 10001
# Mount a directory with hookchain.toml and plugins/ here. HOOKCHAIN_VOLUME=/data puts the SQLite database into /data: a named
# volume takes its owner from the image, any other directory must belong to 10001.
WORKDIR /home/hookchain
COPY --chown=10001 hookchain.toml ./
EXPOSE 8000
STOPSIGNAL SIGTERM
# Liveness only: restarting the container does not bring back an unavailable database.
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s CMD ["hookchain", "healthcheck"]
CMD ["hookchain", "serve"]
