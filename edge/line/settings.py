"""What a line's service is told to do, once and for all starts. Light, as the runner reads it, too."""

import secrets
from collections.abc import Sequence

from pydantic import Field

from cloudedge.addresses import host_and_port, is_loopback, joined_address
from cloudedge.documents.base import Document, parse
from cloudedge.errors import InvalidInput, NotFound
from cloudedge.files import atomic_write, disk_errors
from edge.folders import Folders

_KEY_BYTES = 18


class LineSettings(Document):
    """Where a line's service listens, and how much it keeps."""

    listen: str = Field(description="host:port where detectors are answered.")
    join: str = Field(description="host:port where new detectors join.")
    page: str = Field(description="host:port of the page for people.")
    page_key: str = Field(min_length=16, max_length=100, description="What people must know who open it from another machine.")
    models_http: str = Field(default="", description="host:port where the edge server answers by models itself, over HTTP.")
    models_grpc: str = Field(default="", description="host:port where it does so over gRPC.")
    history_gib: float = Field(default=20.0, gt=0, le=1_000_000, description="What recorded images may take, in GiB.")
    history_days: float = Field(default=90.0, gt=0, le=100_000, description="How long they are kept, in days.")

    @property
    def serves(self) -> bool:
        """Whether the edge server answers by models itself."""
        return bool(self.models_http or self.models_grpc)

    @property
    def page_needs_key(self) -> bool:
        """Whether others than this machine reach the page."""
        return not is_loopback(host_and_port(self.page)[0])


def read_settings(folders: Folders) -> LineSettings:
    """What the line's service is told to do.

    Raises:
        NotFound: there is no line here.
        InvalidDocument: the file is damaged.
    """
    path = folders.line_settings
    if not path.exists():
        raise NotFound(
            f"There is no line at {folders.state}. Correct --state, or begin one: cloudedge-edge line open --state "
            f"{folders.state} --listen HOST:PORT."
        )
    with disk_errors(path):
        return parse(LineSettings, path.read_bytes(), str(path))


def have_line(folders: Folders, listen: str) -> None:
    """Have a line's service run here that detectors reach at an address; all else stays as it was told.

    Args:
        folders: Of the runner.
        listen: host:port.

    Raises:
        InvalidInput: it is no address.
        StoreFailed: the disk refuses.
    """
    if not folders.line_settings.exists() or read_settings(folders).listen != listen:
        open_line(folders, listen)


def open_line(
    folders: Folders,
    listen: str,
    join: str = "",
    page: str = "",
    models: Sequence[str] = (),
    history_gib: float | None = None,
    history_days: float | None = None,
) -> LineSettings:
    """Have a line's service run here; again, it is told something else.

    Args:
        folders: Of the runner.
        listen: host:port where detectors are answered.
        join: host:port where new ones join; empty: the port after it.
        page: host:port of the page; empty: the port after that.
        models: host:port twice, where the edge server answers by models itself, over HTTP and gRPC; none: it does not.
        history_gib: What recorded images may take; none: as before, or 20.
        history_days: How long they are kept; none: as before, or 90.

    Raises:
        InvalidInput: an address is none, or stands there twice.
        StoreFailed: the disk refuses.
    """
    host, port = host_and_port(listen)
    former = read_settings(folders) if folders.line_settings.exists() else None
    http, grpc = models or ("", "")
    settings = LineSettings(
        listen=listen,
        join=join or joined_address(host, port + 1),
        page=page or joined_address(host, port + 2),
        page_key=former.page_key if former else secrets.token_urlsafe(_KEY_BYTES),
        models_http=http,
        models_grpc=grpc,
        history_gib=history_gib or (former.history_gib if former else LineSettings.model_fields["history_gib"].default),
        history_days=history_days or (former.history_days if former else LineSettings.model_fields["history_days"].default),
    )
    addresses = [address for address in (settings.listen, settings.join, settings.page, http, grpc) if address]
    ports = [host_and_port(address)[1] for address in addresses]
    for address, found in zip(addresses, ports, strict=True):
        if found == 0 or ports.count(found) > 1:
            raise InvalidInput(f"{address} cannot be used: give each thing that listens a port of its own, from 1 to 65535.")
    if settings != former:
        atomic_write(folders.line_settings, settings.to_json())
        folders.line_settings.chmod(0o600)  # It has a key in it.
    return settings
