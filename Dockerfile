# Two images from one file:
#   docker build --target api    -t privgate-api .       HTTP, log and policy; no torch, no rows
#   docker build --target worker -t privgate-worker .    seals uploads and trains, each in a confined child
# A worker on CPUs alone is gigabytes smaller with an index that has CPU builds of torch:
#   docker build --target worker --build-arg PIP_EXTRA_INDEX_URL=<address> -t privgate-worker .

FROM python:3.11-slim-bookworm AS source
WORKDIR /src
# As a variable, the constraints bind also what builds our wheel.
ENV PIP_CONSTRAINT=/src/constraints.txt PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/privgate
ENV PATH=/opt/privgate/bin:$PATH
COPY constraints.txt pyproject.toml README.md LICENSE ./

# What is installed before the source is copied is not installed again when only the source changes.
FROM source AS worker-build
ARG PIP_EXTRA_INDEX_URL=""
RUN pip install --constraint constraints.txt torch
COPY . .
RUN pip install --constraint constraints.txt '.[server,postgres,s3,train]'

FROM source AS api-build
COPY . .
RUN pip install --constraint constraints.txt '.[server,postgres,s3]'

FROM python:3.11-slim-bookworm AS run
RUN groupadd --gid 10001 privgate \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/privgate --shell /usr/sbin/nologin privgate \
 && install -d -m 0700 -o 10001 -g 10001 /var/lib/privgate
ENV PATH=/opt/privgate/bin:$PATH PRIVGATE_HOME=/var/lib/privgate PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
COPY --chmod=0555 deploy/alive.py /opt/alive.py
USER 10001:10001
WORKDIR /var/lib/privgate
ENTRYPOINT ["privgate-gateway"]

FROM run AS api
COPY --from=api-build /opt/privgate /opt/privgate
EXPOSE 8443
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["python", "/opt/alive.py", "api"]
CMD ["serve"]

FROM run AS worker
COPY --from=worker-build /opt/privgate /opt/privgate
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 CMD ["python", "/opt/alive.py", "worker"]
CMD ["worker"]
