# The pipeline and the command `gantry`, for a CPU or (`docker run --gpus all`) a GPU.
#
#   docker build -t gantry .
#   docker run --rm --init -v gantry-cache:/gantry/.dvc/cache -v gantry-runs:/gantry/runs gantry
#   docker run --rm gantry gantry --help
#
# The first volume keeps results between runs of the pipeline, the second MLflow's database.
# A smaller image for the CPU: --build-arg PIP_EXTRA_INDEX_URL=... with the address of such builds of torch.

ARG BASE=python:3.11-slim
FROM ${BASE}

ENV DEBIAN_FRONTEND=noninteractive \
    DO_NOT_TRACK=true \
    DVC_NO_ANALYTICS=1 \
    MLFLOW_DISABLE_TELEMETRY=true \
    PATH=/opt/venv/bin:$PATH \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

# git answers DVC and the tags of a run when a checkout is mounted over /gantry, whoever owns it.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git \
    && rm -rf /var/lib/apt/lists/* \
    && git config --system --add safe.directory /gantry \
    && useradd --uid 1000 --user-group --create-home gantry \
    && install --directory --owner gantry --group gantry /gantry /gantry/.dvc /gantry/.dvc/cache /gantry/runs \
    && python3 -m venv /opt/venv

WORKDIR /gantry

# Dependencies before code, so that an edit rebuilds seconds of this; torch is a layer of its own.
COPY requirements.lock pyproject.toml ./
ARG PIP_EXTRA_INDEX_URL
ARG TORCH_SPEC="torch torchvision"
# TORCH_SPEC holds several words.
# hadolint ignore=SC2086
RUN pip install -c requirements.lock ${TORCH_SPEC}
RUN python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" \
        > /tmp/requirements.txt \
    && pip install -c requirements.lock -r /tmp/requirements.txt \
    && rm /tmp/requirements.txt

COPY --chown=gantry:gantry . .
RUN pip install --no-deps --editable .

USER 1000
ENV HOME=/home/gantry \
    MLFLOW_TRACKING_URI=sqlite:////gantry/runs/mlflow.db
# The image holds no .git; a checkout that is mounted brings its own configuration of DVC.
RUN dvc config --local core.no_scm true

CMD ["python", "-m", "pipeline.schedule"]
