FROM python:3.11-slim
WORKDIR /app
COPY requirements.lock pyproject.toml README.md LICENSE ./
RUN pip install --no-cache-dir --require-hashes -r requirements.lock
COPY skewguard ./skewguard
COPY online_api ./online_api
COPY training ./training
RUN pip install --no-cache-dir --no-deps --no-build-isolation . && useradd --create-home skewguard
USER skewguard
ENTRYPOINT ["skewguard"]
