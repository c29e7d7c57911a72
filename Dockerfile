# syntax=docker/dockerfile:1

FROM python:3.11-slim AS build
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
RUN python -m pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /dist . && \
    /venv/bin/pip install --no-cache-dir --no-deps /dist/*.whl

FROM python:3.11-slim
RUN useradd --create-home --uid 10001 hookchain && install -d -o hookchain /data
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PORT=8000
USER hookchain
WORKDIR /home/hookchain
# A rule file is mounted here, or stands in HOOKCHAIN_TOML. SQLite goes to /data once HOOKCHAIN_VOLUME=/data says so.
COPY --chown=hookchain hookchain.toml ./
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s CMD ["hookchain", "healthcheck"]
CMD ["hookchain", "serve"]
