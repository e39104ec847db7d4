# One image for the web server, the daemon and the code location; the command says which.
FROM python:3.12-slim AS build
WORKDIR /app
RUN python -m venv /venv
ENV PATH=/venv/bin:$PATH
COPY requirements.lock ./
RUN pip install --no-cache-dir --require-hashes --no-deps --compile -r requirements.lock
COPY pyproject.toml README.md LICENSE workspace.yaml dagster.yaml ./
COPY meltano_assets meltano_assets
COPY dbt_project dbt_project
RUN pip install --no-cache-dir --no-deps --no-build-isolation --no-index --editable . \
    && python -c "from meltano_assets.assets.dbt import dbt_project; dbt_project()"

FROM python:3.12-slim
RUN useradd --uid 1000 --create-home meltano
COPY --from=build /venv /venv
COPY --from=build --chown=meltano:meltano /app /app
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    DAGSTER_HOME=/app \
    MELTANO_ENVIRONMENT=production
WORKDIR /app
USER meltano
EXPOSE 3000
CMD ["dagster-webserver", "--workspace", "workspace.yaml", "--host", "0.0.0.0", "--port", "3000"]
