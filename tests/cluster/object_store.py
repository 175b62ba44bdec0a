"""A real MinIO on one folder."""

import json
import secrets
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3
from minio import Minio, MinioAdmin
from minio.credentials.providers import StaticProvider

from tests.cluster.processes import Server, free_port
from tests.cluster.tools import program

_open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


@dataclass(frozen=True)
class User:
    """Who may ask."""

    access_key: str
    secret_key: str

    @property
    def environment(self) -> dict[str, str]:
        """As every S3 client reads it."""
        return {"AWS_ACCESS_KEY_ID": self.access_key, "AWS_SECRET_ACCESS_KEY": self.secret_key}


class MinioServer:
    """One server, its root user, and what it keeps."""

    def __init__(self, folder: Path, address: str = "127.0.0.1") -> None:
        """Prepare one; it keeps its port when it is started again."""
        self.endpoint = f"{address}:{free_port(address)}"
        self.url = f"http://{self.endpoint}"
        self.root = User("root-user", secrets.token_hex(20))
        (folder / "data").mkdir(parents=True)
        self._server = Server(
            [program("minio"), "server", "--address", self.endpoint, "--quiet", folder / "data"],
            folder / "minio.log",
            {
                "MINIO_ROOT_USER": self.root.access_key,
                "MINIO_ROOT_PASSWORD": self.root.secret_key,
                "MINIO_BROWSER": "off",
                "MINIO_UPDATE": "off",
            },
        )

    def start(self) -> None:
        """Start it, or start it again."""
        self._server.start(self._ready)

    def kill(self) -> None:
        """As a crash would."""
        self._server.kill()

    def stop(self) -> None:
        """In order."""
        self._server.stop()

    def client(self, user: User | None = None) -> Minio:
        """A client of a user, by default of root."""
        who = user or self.root
        # For seconds after its start it asks to come back in a minute.
        patient = urllib3.Retry(total=50, backoff_factor=0.1, status_forcelist=[503], respect_retry_after_header=False)
        http = urllib3.PoolManager(retries=patient)
        return Minio(self.endpoint, who.access_key, who.secret_key, secure=False, region="us-east-1", http_client=http)

    def bucket(self) -> str:
        """A new, empty bucket."""
        name = f"test-{secrets.token_hex(6)}"
        self.client().make_bucket(name)
        return name

    def user(self, policy: dict[str, Any], folder: Path) -> User:
        """A user who may do what a policy says, and nothing else."""
        made = User(f"user-{secrets.token_hex(4)}", secrets.token_hex(20))
        admin = MinioAdmin(
            endpoint=self.endpoint, secure=False, credentials=StaticProvider(self.root.access_key, self.root.secret_key)
        )
        file = folder / f"{made.access_key}.json"
        file.write_text(json.dumps(policy))
        admin.user_add(made.access_key, made.secret_key)
        admin.policy_add(made.access_key, policy_file=str(file))
        admin.attach_policy([made.access_key], user=made.access_key)
        return made

    def _ready(self) -> bool:
        try:
            with _open(f"{self.url}/minio/health/ready", timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False
