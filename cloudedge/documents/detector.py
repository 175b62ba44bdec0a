"""What a detector on a production line is configured with, and what it says of each part.

The configuration is a file on the detector's own machine, written by whoever sets the machine up: where images come from, what
triggers one, where judgements go. What changes as the line works (the brand, its models, what is taught) comes from the line's
edge server and is no part of it.
"""

import ipaddress
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from cloudedge.documents.base import Document, Part, Told
from cloudedge.documents.line import Brand, NoneOrDigest
from cloudedge.documents.report import Count, Text, Time
from cloudedge.names import NAME

Where = Annotated[str, Field(min_length=1, max_length=4096)]
"""A path on the detector's machine; one that does not begin with / is below the folder of the configuration."""

Level = Annotated[int, Field(ge=0, le=100)]
Port = Annotated[int, Field(ge=1, le=65_535)]
Pixels = Annotated[int, Field(ge=1, le=16_384)]


class Camera(Part):
    """A camera by V4L2, or a stream of the network, as FFmpeg's libraries read it."""

    kind: Literal["camera"] = Field(default="camera", description="Kind of source.")
    address: str = Field(
        min_length=1,
        max_length=4096,
        description="A V4L2 device such as /dev/video0, or the address of a stream: rtsp://, http://, udp:// or a file. What a "
        "camera asks for as name and password stands in it as rtsp://NAME:PASSWORD@HOST, and is in no message.",
    )
    options: dict[Annotated[str, Field(max_length=100)], Annotated[str, Field(max_length=1000)]] = Field(
        default_factory=dict,
        max_length=50,
        description="Options of FFmpeg's libraries, such as video_size, framerate or rtsp_transport.",
    )
    wait_seconds: float = Field(
        default=5.0, gt=0, le=600, description="How long nothing may come before the stream is opened anew, in seconds."
    )
    fresh_seconds: float = Field(
        default=1.0, gt=0, le=600, description="A picture older than this when a tick comes is none, in seconds."
    )


class Folder(Part):
    """Pictures in a folder, by their names in sorted order: PNG, JPEG, BMP, TIFF."""

    kind: Literal["folder"] = Field(default="folder", description="Kind of source.")
    path: Where = Field(description="The folder.")
    mode: Literal["once", "loop", "watch"] = Field(
        default="once",
        description="once: the detector ends after the last one; loop: it begins anew; watch: it waits for more, and a tick "
        "that finds no new one is passed over.",
    )


class Generator(Part):
    """Pictures of a texture that is made here, some with a defect: to try a line out, and for tests."""

    kind: Literal["generator"] = Field(default="generator", description="Kind of source.")
    texture: Literal["weave", "noise", "stripes"] = Field(default="weave", description="What a part looks like.")
    height: int = Field(default=128, ge=32, le=4096, description="Height in pixels.")
    width: int = Field(default=128, ge=32, le=4096, description="Width in pixels.")
    defects: float = Field(default=0.05, ge=0, le=1, description="Share of parts that have a scratch, a stain or a hole.")
    seed: int = Field(default=0, ge=0, lt=2**31, description="The same seed makes the same pictures.")
    most: int = Field(default=0, ge=0, le=10**9, description="The detector ends after so many pictures; 0: it does not.")


Source = Annotated[Camera | Folder | Generator, Field(discriminator="kind")]


class Timer(Part):
    """Ticks of a clock, where a line has no encoder."""

    kind: Literal["timer"] = Field(default="timer", description="Kind of encoder.")
    per_second: float = Field(default=10.0, gt=0, le=1000, description="Ticks a second.")


class Pulses(Part):
    """Ticks of an encoder, counted as its pulses come: each line of text is one."""

    kind: Literal["pulses"] = Field(default="pulses", description="Kind of encoder.")
    path: Where = Field(
        description="A serial device, a named pipe or a file; of a file only what is added to it from now on counts."
    )
    every: int = Field(default=1, ge=1, le=1_000_000, description="Pulses to a tick.")


Encoder = Annotated[Timer | Pulses, Field(discriminator="kind")]


class Light(Part):
    """How bright a part is lit. The level is written, as a line of text, when the detector begins and when it changes."""

    path: Where = Field(description="A device or a file that the light's controller reads; a file is replaced as a whole.")
    level: Level = Field(default=50, description="Brightness, from 0 (off) to 100.")
    brands: dict[Annotated[str, Field(pattern=NAME)], Level] = Field(
        default_factory=dict, max_length=1000, description="Brightness for some brands, where it is another."
    )
    command: str = Field(
        default="{level}",
        max_length=200,
        pattern=r"^[^{}\r\n]*\{level\}[^{}\r\n]*$",
        description="The line that sets it, with {level} in the place of the number.",
    )


class Crop(Part):
    """The piece of each picture that shows the part."""

    left: int = Field(ge=0, le=16_384, description="Pixels left of it.")
    top: int = Field(ge=0, le=16_384, description="Pixels above it.")
    width: Pixels = Field(description="Its width in pixels.")
    height: Pixels = Field(description="Its height in pixels.")


class ResultsFile(Part):
    """Judgements in a file: one JSON object a line. A full one is renamed to end in .1, in the place of the one before."""

    path: Where = Field(description="The file; folders are made.")
    most_bytes: int = Field(default=64 * 1024 * 1024, ge=4096, le=2**40, description="It is full at so many bytes.")


class Mqtt(Part):
    """Judgements by MQTT, at least once each (QoS 1), as JSON. The inspection never waits for the broker."""

    host: str = Field(min_length=1, max_length=253, description="The broker.")
    port: Port = Field(default=1883, description="Its port; with TLS it mostly is 8883.")
    topic: str = Field(
        min_length=1, max_length=1000, pattern=r"^[^#+\x00]+$", description="Topic of the judgements; no wildcards."
    )
    user: str = Field(default="", max_length=200, description="User at the broker; empty: none.")
    password_file: str = Field(
        default="", max_length=4096, description="File whose first line is the password, for the detector's user only."
    )
    tls: bool = Field(default=False, description="Whether the connection is encrypted, and the broker's certificate checked.")
    authorities: str = Field(
        default="", max_length=4096, description="PEM file of the authorities that are trusted; empty: the system's."
    )
    queue: int = Field(
        default=1000, ge=1, le=1_000_000, description="Judgements that wait while the broker is away; more are counted as lost."
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.password_file and not self.user:
            raise ValueError("a password without a user: add 'user'")
        if self.authorities and not self.tls:
            raise ValueError("authorities without TLS: set 'tls' to true, or remove them")
        return self


class Results(Part):
    """Where judgements go."""

    file: ResultsFile | None = Field(default=None, description="A file; none: into no file.")
    mqtt: Mqtt | None = Field(default=None, description="A broker; none: to no broker.")


class Kept(Part):
    """Which images are kept on the detector's disk until its edge server has them, and how long at most."""

    most_bytes: int = Field(
        default=2 * 1024**3,
        ge=1024 * 1024,
        le=2**50,
        description="Bytes that they may take, images and their records together.",
    )
    most_hours: float = Field(
        default=72.0, gt=0, le=1_000_000, description="An older one is let go, sent or not; the newest 100 always stay."
    )
    images: Literal["all", "rejects", "nth"] = Field(
        default="all", description="Which ones; rejects, parts that could not be judged and taught images always are."
    )
    nth: int = Field(default=10, ge=1, le=1_000_000, description="With 'nth', of the others every so many-th.")


class ServingPorts(Part):
    """Where other programs on the line ask the detector's models, by the Open Inference Protocol."""

    host: str = Field(default="127.0.0.1", min_length=1, max_length=253, description="Address to listen at.")
    http: Port | None = Field(default=None, description="Port for HTTP, and the metrics of Prometheus; none: not served.")
    grpc: Port | None = Field(default=None, description="Port for gRPC; none: not served.")

    @field_validator("host")
    @classmethod
    def _address(cls, host: str) -> str:
        if host != "localhost":
            try:
                ipaddress.ip_address(host)
            except ValueError:
                raise ValueError(
                    "give an address such as 127.0.0.1 for this machine alone, or 0.0.0.0 for its network"
                ) from None
        return host

    @model_validator(mode="after")
    def _apart(self) -> Self:
        if self.http is not None and self.http == self.grpc:
            raise ValueError(f"HTTP and gRPC both at port {self.http}; give them two")
        return self


class DetectorConfiguration(Document):
    """What a detector is set up with."""

    source: Source = Field(description="Where images come from.")
    encoder: Encoder = Field(default_factory=Timer, description="What triggers an image.")
    queue: int = Field(
        default=8,
        ge=1,
        le=1000,
        description="Ticks that may wait while an image is judged; of those that come then, no image is taken, and they are "
        "counted as missed.",
    )
    light: Light | None = Field(default=None, description="The light; none: it is not the detector's.")
    crop: Crop | None = Field(default=None, description="The piece of each picture that is inspected; none: all of it.")
    results: Results = Field(default_factory=Results, description="Where judgements go.")
    history: Kept = Field(default_factory=Kept, description="Images that are kept.")
    brand: Brand = Field(default="", description="Product variety at first, until the edge server says which; empty: none.")
    serving: ServingPorts = Field(default_factory=ServingPorts, description="For other programs on the line.")
    threads: int = Field(default=1, ge=1, le=256, description="CPU threads that judge one image.")


class Verdict(Told):
    """What a detector says of one part: a line of its results file, and a message at its broker."""

    detector: str = Field(default="", description="Name of the detector; empty: it has joined no line.")
    tick: Count = Field(description="Number of the tick, counted from 1 since the detector began.")
    taken_at: Time = Field(description="When the image was taken, by the detector's clock.")
    judged_at: Time = Field(description="When it was judged.")
    ms: float = Field(ge=0, description="Milliseconds from the tick to the judgement, waiting included.")
    brand: Brand = Field(default="", description="Product variety that ran; empty: none was said.")
    model: NoneOrDigest = Field(default="", description="Digest of the model that judged; empty: the brand has none.")
    score: float | None = Field(default=None, description="How far the part is from what is normal.")
    threshold: float | None = Field(default=None, description="Above it a part is rejected.")
    accepted: bool | None = Field(default=None, description="The judgement; null: there is none, be it for want of a model.")
    defect: str = Field(default="", description="Most likely defect of a rejected part, where the model names any.")
    error: Text = Field(default="", max_length=2000, description="Why there is none, where something failed.")
    image: str = Field(default="", description="Name of the image at its source, where it has one.")
    truth: str = Field(default="", description="What it does show, where the source knows: 'normal', or a defect's name.")
